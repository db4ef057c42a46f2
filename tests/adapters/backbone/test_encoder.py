"""The packed forward against HF's BertModel, with and without adapters."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from adapters.adapter import Adapter
from adapters.backbone.encoder import Backbone
from adapters.backbone.files import BertShape, locate
from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import Encoding
from adapters.config import DEFAULT_BACKBONE, BackboneIdentity
from adapters.errors import BackboneError
from adapters.serving.bank import AdapterBank, SegmentRows
from tests.support.factories import make_adapter
from tests.support.reference import backbone_of, bert_with_adapter, random_encodings

POPULARITY = {
    "distinct": lambda n, k, rng: np.arange(n) % k,
    "uniform": lambda n, k, rng: rng.integers(0, k, n),
    "zipf": lambda n, k, rng: np.minimum(rng.zipf(1.5, n) - 1, k - 1),
    "identical": lambda n, k, rng: np.zeros(n, dtype=int),
}


def identity_of(bert: BertModel) -> BackboneIdentity:
    return BackboneIdentity(
        name="random",
        hidden_size=bert.config.hidden_size,
        num_layers=bert.config.num_hidden_layers,
        weights_sha256="0" * 64,
        tokenizer_sha256="0" * 64,
    )


def random_bert(**changes: object) -> BertModel:
    shape = {
        "vocab_size": 200,
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "max_position_embeddings": 64,
    }
    return BertModel(BertConfig(**(shape | changes))).eval()


def pack(encodings: list[Encoding]) -> tuple[torch.Tensor, torch.Tensor, Packing]:
    token_ids = torch.from_numpy(np.concatenate([item.token_ids for item in encodings]))
    type_ids = torch.from_numpy(np.concatenate([item.type_ids for item in encodings]))
    return token_ids, type_ids, Packing.of([len(item) for item in encodings])


def run_mixed(backbone: Backbone, encodings: list[Encoding], adapters: list[Adapter], which: np.ndarray) -> list:
    """Hidden states of each encoding from one mixed forward, segments in the order of the adapters."""
    bank = AdapterBank(backbone.identity.hidden_size, "cpu", backbone.dtype)
    for slot, adapter in enumerate(adapters):
        bank.write(slot, adapter)
    order = np.argsort(which, kind="stable")
    rows, at = [], 0
    for slot in sorted(set(which.tolist())):
        length = sum(len(encodings[i]) for i in order if which[i] == slot)
        rows.append(SegmentRows(slot, at, at + length))
        at += length
    ordered = [encodings[i] for i in order]
    with torch.inference_mode():
        hidden = backbone(*pack(ordered), lambda layer, h: bank.apply(layer, h, rows))
    pieces = torch.split(hidden, [len(item) for item in ordered])
    return [pieces[int(place)] for place in np.argsort(order)]


@pytest.mark.parametrize("popularity", POPULARITY)
@pytest.mark.parametrize("seed", range(3))
def test_equals_bert_with_the_equation(popularity: str, seed: int) -> None:
    """Over random lengths and mixes of adapters, each hidden state is what BertModel and the equation give alone."""
    bert = random_bert()
    identity = identity_of(bert)
    backbone = backbone_of(bert, identity)
    rng = np.random.default_rng(seed)
    adapters = [
        make_adapter(identity=identity, p=p, q=q, layers=layers, seed=100 + seed * 10 + i)
        for i, (p, q, layers) in enumerate([(3, 4, (0, 1, 2)), (2, 4, (2,)), (5, 2, (0, 2)), (3, 4, (0, 1, 2))])
    ]
    encodings = random_encodings(rng.integers(1, 65, 12).tolist(), 200, seed)
    which = POPULARITY[popularity](len(encodings), len(adapters), rng)
    for encoding, got, slot in zip(encodings, run_mixed(backbone, encodings, adapters, which), which, strict=True):
        expected = bert_with_adapter(bert, encoding, adapters[slot])
        assert (got - expected).abs().max() < 1e-5


def test_bert_base_shape() -> None:
    """The packed forward with r=48 adapters equals the reference at the size of BERT-base (two layers of it)."""
    bert = random_bert(
        vocab_size=500,
        hidden_size=768,
        num_hidden_layers=2,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
    )
    identity = identity_of(bert)
    backbone = backbone_of(bert, identity)
    adapters = [make_adapter(identity=identity, p=12, layers=(0, 1), seed=seed) for seed in range(2)]
    encodings = random_encodings([17, 64, 3, 40], 500)
    which = np.array([1, 0, 0, 1])
    for encoding, got, slot in zip(encodings, run_mixed(backbone, encodings, adapters, which), which, strict=True):
        assert (got - bert_with_adapter(bert, encoding, adapters[slot])).abs().max() < 1e-5


def test_real_backbone_on_real_text(real: LoadedBackbone) -> None:
    """Single texts and pairs of all lengths on the default backbone equal BertModel with an adapter."""
    bert = BertModel.from_pretrained(locate(DEFAULT_BACKBONE)).eval()
    adapter = make_adapter(identity=real.identity, p=12, layers=range(6), seed=5)
    word = "the quick brown fox jumps over a lazy dog "
    texts = ["hi", word, (word, "a dog sleeps"), word * 40, ("one", word * 3), "?"]
    encodings = real.encoder.encode(texts, max_length=128)
    got = run_mixed(real.backbone, encodings, [adapter], np.zeros(len(texts), dtype=int))
    for encoding, hidden in zip(encodings, got, strict=True):
        assert (hidden - bert_with_adapter(bert, encoding, adapter)).abs().max() < 1e-5


def test_attention_never_crosses_texts() -> None:
    """Changing every token of one text leaves the hidden states of its neighbours bit for bit."""
    bert = random_bert()
    backbone = backbone_of(bert, identity_of(bert))
    encodings = random_encodings([9, 9, 14, 3], 200)
    token_ids, type_ids, packing = pack(encodings)
    changed = token_ids.clone()
    changed[9:18] = (changed[9:18] + 1) % 200
    with torch.inference_mode():
        before, after = backbone(token_ids, type_ids, packing), backbone(changed, type_ids, packing)
    same = torch.ones(len(token_ids), dtype=torch.bool)
    same[9:18] = False
    assert torch.equal(before[same], after[same])
    assert not torch.allclose(before[9:18], after[9:18], atol=1e-3)


def test_gradients_equal_the_references() -> None:
    """Gradients through the packed forward are those through BertModel on each text alone."""
    bert = random_bert()
    backbone = backbone_of(bert, identity_of(bert))
    encodings = random_encodings([7, 12, 7], 200)
    scale = torch.ones(48, requires_grad=True)
    backbone(*pack(encodings), lambda layer, h: h * scale).square().sum().backward()
    expected = torch.ones(48, requires_grad=True)
    hooks = [layer.output.dense.register_forward_hook(lambda m, i, out: out * expected) for layer in bert.encoder.layer]
    for encoding in encodings:
        token_ids, type_ids = torch.from_numpy(encoding.token_ids)[None], torch.from_numpy(encoding.type_ids)[None]
        bert(input_ids=token_ids, token_type_ids=type_ids).last_hidden_state.square().sum().backward()
    for hook in hooks:
        hook.remove()
    assert scale.grad is not None
    assert torch.allclose(scale.grad, expected.grad, rtol=1e-4, atol=1e-3)


def test_bfloat16_follows_float32() -> None:
    """The same code in bfloat16 gives the float32 answer within bfloat16's precision."""
    bert = random_bert()
    backbone = backbone_of(bert, identity_of(bert))
    inputs = pack(random_encodings([7, 30, 12], 200))
    with torch.inference_mode():
        exact = backbone(*inputs)
        rounded = backbone.to(torch.bfloat16)(*inputs)
    assert rounded.dtype is torch.bfloat16
    assert (rounded.float() - exact).abs().max() < 0.1


def test_is_frozen() -> None:
    """No weight of a backbone asks for a gradient, and it comes in evaluation mode."""
    bert = random_bert()
    backbone = backbone_of(bert, identity_of(bert))
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not backbone.training


def test_refuses_heads_that_do_not_divide() -> None:
    """A config whose heads do not divide the hidden size is refused when it is loaded, not by the first request."""
    bert = random_bert()
    shape = BertShape.model_validate(bert.config).model_copy(update={"num_attention_heads": 5})
    with pytest.raises(BackboneError, match="cannot be divided among 5 heads"):
        Backbone.from_weights(shape, bert.state_dict(), identity_of(bert))


def test_refuses_a_decoder() -> None:
    """A BERT set up as a decoder cannot be a backbone."""
    bert = random_bert(is_decoder=True)
    with pytest.raises(BackboneError, match="encoder"):
        backbone_of(bert, identity_of(bert))
