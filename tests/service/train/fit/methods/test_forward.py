"""The forward of each method: against a padded reference, AdapterHub's own outputs, and the plain backbone."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adapters.backbone.encoder import Backbone
from adapters.backbone.files import BertShape
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import Encoding
from adapters.config import BackboneIdentity
from adapters.method.adakron import Initialisation
from service.train.fit.methods.tuned import LayerTuning, TunedModel
from service.train.recipes import Method
from tests.support.methods import AT_SITE, TUNED, make_model, pack, randomise, run
from tests.support.reference import random_encodings
from tests.support.reference_methods import padded_hidden

pytestmark = pytest.mark.usefixtures("one_thread")
GOLDEN = load_file(Path(__file__).parent / "golden" / "adapterhub.safetensors")


class NoParts(LayerTuning):
    """A layer in which nothing learns."""

    def initialise(self, scheme: Initialisation) -> None:
        """Draw nothing."""


@pytest.mark.parametrize("method", [*TUNED, *AT_SITE, "bitfit"])
@pytest.mark.parametrize("lengths", [(7,), (5, 5, 5), (16, 3, 40, 1, 16, 31)])
def test_equals_the_padded_reference(method: Method, lengths: tuple[int, ...], tiny: LoadedBackbone) -> None:
    """On packed sequences of any lengths the hidden states are those of the equations on padded ones."""
    model = randomise(make_model(method, copy.deepcopy(tiny.backbone))).eval()
    encodings = random_encodings(lengths, 100)
    expected = padded_hidden(model.backbone, model.state_dict(), encodings)
    with torch.inference_mode():
        found = run(model, encodings).split(lengths)
    for own, other in zip(found, expected, strict=True):
        assert (own - other).abs().max() < 1e-4


@pytest.mark.parametrize("method", [*TUNED, "pfeiffer"])
def test_equals_adapterhub(method: Method) -> None:
    """With the same weights the hidden states are AdapterHub's, to 1e-5."""
    weights = {name.removeprefix("bert."): value for name, value in GOLDEN.items() if name.startswith("bert.")}
    shape = BertShape(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=16,
    )  # fmt: skip
    identity = BackboneIdentity(
        name="golden", hidden_size=32, num_layers=2, weights_sha256="0" * 64, tokenizer_sha256="0" * 64
    )
    model = make_model(method, Backbone.from_weights(shape, weights, identity)).eval()
    prefix = f"{method}.layers."
    model.layers.load_state_dict(
        {name.removeprefix(prefix): value for name, value in GOLDEN.items() if name.startswith(prefix)}
    )
    token_ids, type_ids = GOLDEN["input.token_ids"].numpy(), GOLDEN["input.type_ids"].numpy()
    encodings = [Encoding(ids, types, False) for ids, types in zip(token_ids, type_ids, strict=True)]
    with torch.inference_mode():
        found = run(model, encodings).view(GOLDEN[f"{method}.output"].shape)
    assert (found - GOLDEN[f"{method}.output"]).abs().max() < 1e-5


@pytest.mark.parametrize("method", ["houlsby", "lora", "pfeiffer", "adamix"])
def test_starts_as_the_identity(method: Method, tiny: LoadedBackbone) -> None:
    """A new model of these methods computes the hidden states of the frozen backbone."""
    model = make_model(method, tiny.backbone).eval()
    model.initialise("identity")
    encodings = random_encodings((4, 19, 11), 100)
    with torch.inference_mode():
        assert torch.allclose(run(model, encodings), tiny.backbone(*pack(encodings)), atol=1e-6)


@pytest.mark.parametrize("method", [*TUNED, *AT_SITE])
def test_the_published_start_has_an_effect_that_is_finite(method: Method, tiny: LoadedBackbone) -> None:
    """Except for LoRA, which its authors start as the identity."""
    model = make_model(method, tiny.backbone).eval()
    model.initialise("published")
    encodings = random_encodings((4, 19, 11), 100)
    with torch.inference_mode():
        found, plain = run(model, encodings), tiny.backbone(*pack(encodings))
    assert found.isfinite().all()
    assert torch.equal(found, plain) == (method == "lora")


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_without_parts_it_is_the_backbone(dropout: float, tiny: LoadedBackbone) -> None:
    """The layers with four points compute the bits of the backbone's layers, with the same dropout."""
    backbone = copy.deepcopy(tiny.backbone)
    backbone.set_dropout(dropout)
    model = TunedModel(backbone, make_model("head", backbone).config, NoParts).train()
    batch = pack(random_encodings((4, 19, 11), 100))
    outputs = []
    for encode in (model.encode, backbone):
        torch.manual_seed(1)
        outputs.append(encode(*batch))
    assert torch.equal(*outputs)
