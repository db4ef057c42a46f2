"""BertForSequenceClassification and the adapter file: equal logits in both directions, and refusals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoTokenizer, BertForSequenceClassification, BertForTokenClassification

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.files import locate
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import Encoding, TextEncoder, TextInput
from adapters.config import DEFAULT_BACKBONE
from adapters.errors import CheckpointError
from adapters.integrations import (
    AdaKronConfig,
    IntegrationError,
    add_adakron,
    export_adapter,
    import_adapter,
    load_adakron,
    remove_adakron,
    save_adakron,
    tokenizer_options,
)
from adapters.serving.inference import predict_logits
from adapters.serving.verification import verify
from tests.support.factories import make_adapter_bytes
from tests.support.families import randomise
from tests.support.tiny import make_tiny_backbone

TEXTS = ["a good movie", "the plot is dull and the actor was weak", "no", "the cat sleeps in the house by the sea"]
LONG = "one two three four five six seven eight nine ten " * 20
POOLINGS = ("cls", "mean", "pooler")
PROBLEMS = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def load(folder: Path, **options: object) -> BertForSequenceClassification:
    return BertForSequenceClassification.from_pretrained(folder, **options)


def adapted(folder: Path, *, seed: int = 0, r: int = 12, pooling: str | None = None, **options: object) -> nn.Module:
    """A classifier with random adapters and a random head on the backbone in `folder`."""
    model = add_adakron(load(folder, **options), AdaKronConfig(r=r, pooling=pooling))
    randomise(model, seed=seed)
    return model


@torch.no_grad()
def padded_logits(model: nn.Module, encodings: Sequence[Encoding]) -> np.ndarray:
    """Logits by transformers, all inputs in one batch padded on the right."""
    length = max(map(len, encodings))
    rows = [np.pad(item.token_ids, (0, length - len(item))) for item in encodings]
    types = [np.pad(item.type_ids, (0, length - len(item))) for item in encodings]
    mask = [np.arange(length) < len(item) for item in encodings]
    token_ids, type_ids, attention_mask = (torch.from_numpy(np.stack(values)) for values in (rows, types, mask))
    output = model(input_ids=token_ids, token_type_ids=type_ids, attention_mask=attention_mask.long())
    return output.logits.numpy()


def assert_equal_logits(model: nn.Module, loaded: LoadedBackbone, adapter: Adapter, texts: Sequence[TextInput]) -> None:
    """Transformers' padded batch and the packed forward give the same logits to 1e-5 of their size."""
    packed = predict_logits(loaded, adapter, texts)
    padded = padded_logits(model.eval(), loaded.encoder.encode_for(adapter.metadata.task, texts))
    assert packed.shape == padded.shape
    assert np.abs(packed - padded).max() <= 1e-5 * max(1.0, np.abs(packed).max())


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(
    ("kind", "labels", "pair"),
    [("single_label", ("no", "yes", "maybe"), False), ("multi_label", ("a",), True), ("regression", (), False)],
)
def test_from_the_file_to_transformers(
    pooling: str, kind: str, labels: tuple[str, ...], pair: bool, tiny_folder: Path, tiny: LoadedBackbone
) -> None:
    """Every type of task and pooling, pairs and single texts, has the logits of the packed forward."""
    data = make_adapter_bytes(identity=tiny.identity, type=kind, labels=labels, pair=pair, pooling=pooling)
    model = load(tiny_folder, num_labels=max(1, len(labels)))
    adapter = import_adapter(data, model, str(tiny_folder))
    texts = [(text, "it is so") for text in TEXTS] if pair else [*TEXTS, LONG]
    assert_equal_logits(model, tiny, adapter, texts)
    if labels:
        assert tuple(model.config.id2label.values()) == labels
    assert model.config.problem_type == PROBLEMS[kind]


@pytest.mark.parametrize("layers", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_some_layers_and_float16(
    layers: tuple[int, ...], dtype: torch.dtype, tiny_folder: Path, tiny: LoadedBackbone
) -> None:
    """Only the layers in the file have adapters; a file in float16 computes the same numbers."""
    data = make_adapter_bytes(identity=tiny.identity, layers=layers, dtype=dtype)
    model = load(tiny_folder)
    assert_equal_logits(model, tiny, import_adapter(data, model, str(tiny_folder)), TEXTS)


@pytest.mark.parametrize("pooling", [None, *POOLINGS])
@pytest.mark.parametrize("problem", [None, "multi_label_classification", "regression"])
def test_from_transformers_to_the_file(
    pooling: str | None, problem: str | None, tiny_folder: Path, tiny: LoadedBackbone
) -> None:
    """The server's checks accept the exported file with golden examples, and its logits are those of the model."""
    names = {"num_labels": 1} if problem == "regression" else {"id2label": {0: "no", 1: "yes", 2: "maybe"}}
    model = adapted(tiny_folder, pooling=pooling, problem_type=problem, **names).train()
    data = export_adapter(model, str(tiny_folder), max_length=32, temperature=1.0, examples=TEXTS[:2])
    assert model.training
    adapter = checkpoint.parse(data, tiny.identity)
    verify(tiny, adapter)
    task = adapter.metadata.task
    assert task.pooling == (pooling or "pooler")
    assert task.labels == (() if problem == "regression" else ("no", "yes", "maybe"))
    assert_equal_logits(model, tiny, adapter, [*TEXTS, LONG])


@pytest.mark.parametrize("layers", [(1,), (0, 1)])
def test_there_and_back_is_the_same_file(layers: tuple[int, ...], tiny_folder: Path, tiny: LoadedBackbone) -> None:
    """An adapter file that goes through transformers comes back byte for byte."""
    data = make_adapter_bytes(
        identity=tiny.identity, labels=("ja", "nein"), pooling="cls", truncation="left", layers=layers
    )
    model = load(tiny_folder)
    import_adapter(data, model, str(tiny_folder))
    assert export_adapter(model, str(tiny_folder), max_length=64, truncation="left") == data


def test_a_mixture_is_exported_merged(tiny_folder: Path, tiny: LoadedBackbone) -> None:
    """A mixture becomes a plain adapter with its logits."""
    model = add_adakron(load(tiny_folder), AdaKronConfig(r=12, experts_a=2, experts_b=3))
    randomise(model)
    adapter = checkpoint.parse(export_adapter(model, str(tiny_folder)), tiny.identity)
    assert_equal_logits(model, tiny, adapter, TEXTS)


def test_pooling_is_kept_in_the_own_file(tiny_folder: Path, tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A classifier with mean pooling has it again after save and load; without adapters it has the model's own."""
    model = adapted(tiny_folder, pooling="mean")
    encodings = tiny.encoder.encode(TEXTS, max_length=32)
    save_adakron(model, tmp_path / "mean")
    fresh = load_adakron(load(tiny_folder), tmp_path / "mean").eval()
    assert np.array_equal(padded_logits(fresh, encodings), padded_logits(model.eval(), encodings))
    plain = load(tiny_folder).eval()
    plain.classifier.load_state_dict(fresh.classifier.state_dict())
    assert np.array_equal(padded_logits(remove_adakron(fresh), encodings), padded_logits(plain, encodings))


@pytest.mark.parametrize("special_tokens", ["text", "obeyed"])
@pytest.mark.parametrize("truncation", ["right", "left"])
def test_the_tokenizer_of_transformers_cuts_alike(truncation: str, special_tokens: str) -> None:
    """With `tokenizer_options` transformers' tokenizer gives the server's token ids, long texts and [SEP] included."""
    data = make_adapter_bytes(max_length=12, truncation=truncation, special_tokens=special_tokens, pair=True)
    task = checkpoint.parse(data).metadata.task
    folder = locate(DEFAULT_BACKBONE)
    tokenizer = AutoTokenizer.from_pretrained(folder, **tokenizer_options(task))
    encoder = TextEncoder.from_file(folder / "tokenizer.json")
    pairs = [(LONG, "a cat"), ("a dog", LONG), ("the end [SEP] of it", "yes"), (LONG, LONG)]
    got = tokenizer([first for first, _ in pairs], [second for _, second in pairs], truncation=True)["input_ids"]
    assert got == [item.token_ids.tolist() for item in encoder.encode_for(task, pairs)]


def test_models_that_a_file_cannot_express_are_not_exported(tiny_folder: Path, tmp_path: Path) -> None:
    """Each reason is one line."""

    def refused(model: nn.Module, message: str, **options: object) -> None:
        with pytest.raises(IntegrationError, match=message) as caught:
            export_adapter(model, str(tiny_folder), **options)
        assert "\n" not in str(caught.value)

    refused(load(tiny_folder), "the model has no AdaKron adapters")
    tokens = add_adakron(BertForTokenClassification.from_pretrained(tiny_folder), AdaKronConfig(r=12))
    refused(tokens, "only BertForSequenceClassification has an adapter file, not BertForTokenClassification")
    refused(adapted(tiny_folder, num_labels=3, problem_type="regression"), "regressions of one number, not of 3")
    refused(adapted(tiny_folder, num_labels=1), "a regression has no probabilities", temperature=2.0)
    refused(adapted(tiny_folder, id2label={0: "same", 1: "same"}), "a label appears twice")
    refused(adapted(tiny_folder), "max_length: ", max_length=1)
    refused(adapted(tiny_folder), "example 0 does not fit the task", examples=[("a", "b")])
    attention = AdaKronConfig(r=12, target_modules=("layer.*.output.dense", "attention.output.dense"))
    model = add_adakron(load(tiny_folder), attention)
    refused(model, "not at bert.encoder.layer.0.attention.output.dense")
    model = adapted(tiny_folder)
    model.classifier = nn.Sequential(model.classifier)
    refused(model, "is one linear layer, not a Sequential")
    model = adapted(tiny_folder)
    model.bert.encoder.layer[1].attention.self.query.bias.data[0] += 1e-3
    refused(model, "encoder.layer.1.attention.self.query.bias of the model differs from that of backbone")
    refused(adapted(tiny_folder).to(torch.bfloat16), "load the model from it in float32")
    other = make_tiny_backbone(tmp_path / "wide", num_attention_heads=4)
    refused(adapted(other), "the model has num_attention_heads 4, backbone .* 2: load the model from it")
    bare = make_tiny_backbone(tmp_path / "bare", pooler=False)
    with pytest.raises(IntegrationError, match=r"lacks pooler.dense.weight: choose another pooling"):
        export_adapter(adapted(bare), str(bare))
    export_adapter(adapted(bare, pooling="mean"), str(bare))


def test_files_that_a_model_cannot_express_are_not_imported(tiny_folder: Path, tiny: LoadedBackbone) -> None:
    """Each reason is one line, and the model is unchanged."""

    def refused(data: bytes, model: nn.Module, message: str, error: type[Exception] = IntegrationError) -> None:
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(error, match=message) as caught:
            import_adapter(data, model, str(tiny_folder))
        assert "\n" not in str(caught.value)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    data = make_adapter_bytes(identity=tiny.identity)
    refused(data[:-1], load(tiny_folder), "bytes", CheckpointError)
    refused(make_adapter_bytes(), load(tiny_folder), "made for backbone", CheckpointError)
    refused(data, load(tiny_folder, num_labels=3), "2 outputs and the model 3: load the model with num_labels=2")
    refused(data, adapted(tiny_folder), r"already has AdaKron adapters: call remove_adakron\(model\) first")
    head_tail = make_adapter_bytes(identity=tiny.identity, truncation="head-tail")
    refused(head_tail, load(tiny_folder), "cannot cut the middle out of a text .truncation 'head-tail'.: compute this")
    tokens = BertForTokenClassification.from_pretrained(tiny_folder)
    refused(data, tokens, "only BertForSequenceClassification has an adapter file, not BertForTokenClassification")
