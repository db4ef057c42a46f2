"""The dry run on the backbone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters import checkpoint
from adapters.adapter import Adapter, GoldenExample
from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.backbone.text_encoder import Encoding
from adapters.errors import CheckpointError
from adapters.method.model import AdapterModel
from adapters.serving import verification
from adapters.serving.inference import predict_logits, to_model
from adapters.serving.verification import verify
from tests.support.factories import make_adapter
from tests.support.tiny import make_tiny_backbone

TEXTS = ("a good film", "the plot is dull", "one two three")


def with_examples(loaded: LoadedBackbone, error: float = 0.0, **options: Any) -> Adapter:
    adapter = make_adapter(identity=loaded.identity, **options)
    logits = predict_logits(loaded, adapter, list(TEXTS))
    logits[1, 0] += error
    examples = tuple(
        GoldenExample(inputs=text, logits=tuple(row)) for text, row in zip(TEXTS, logits.tolist(), strict=True)
    )
    metadata = adapter.metadata.model_copy(update={"examples": examples})
    return checkpoint.parse(checkpoint.serialize(metadata, adapter.tensors))


def reason_of(loaded: LoadedBackbone, adapter: Adapter) -> str:
    with pytest.raises(CheckpointError) as caught:
        verify(loaded, adapter)
    return caught.value.reason


def test_good_adapters_pass(tiny: LoadedBackbone) -> None:
    """Adapters of every kind that give the trainer's logits again are let through."""
    verify(tiny, with_examples(tiny))
    verify(tiny, make_adapter(identity=tiny.identity, type="regression", labels=(), pair=True))
    verify(tiny, make_adapter(identity=tiny.identity, type="multi_label", labels=("x",), pooling="cls"))


def test_other_logits_are_refused(tiny: LoadedBackbone) -> None:
    """A golden example that comes out differently is refused, naming it and both results."""
    with pytest.raises(CheckpointError, match="example 1") as caught:
        verify(tiny, with_examples(tiny, error=0.1))
    assert caught.value.reason == "golden_examples"


def test_adapter_without_effect_is_refused(tiny: LoadedBackbone) -> None:
    """An adapter that does not change the backbone's logits is refused, because it was surely published by mistake."""
    adapter = make_adapter(identity=tiny.identity)
    tensors = {name: tensor * ("up." not in name) for name, tensor in adapter.tensors.items()}
    idle = checkpoint.parse(checkpoint.serialize(adapter.metadata, tensors))
    assert reason_of(tiny, idle) == "no_effect"


@pytest.mark.parametrize("first_differs", [True, False])
def test_the_effect_is_sought_in_one_input_first(
    tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch, first_differs: bool
) -> None:
    """The backbone alone computes one input; all of them only if that one does not show an effect."""
    real, bare = verification.forward_encodings, list[int]()

    def forward(model: AdapterModel, encodings: list[Encoding]) -> np.ndarray:
        if not len(model.layers):
            bare.append(len(encodings))
            if len(encodings) == 1 and not first_differs:
                return real(to_model(tiny, adapter), encodings)
        return real(model, encodings)

    monkeypatch.setattr(verification, "forward_encodings", forward)
    adapter = with_examples(tiny)
    verify(tiny, adapter)
    assert bare == ([1] if first_differs else [1, 3 + len(adapter.metadata.examples)])


def test_overflow_in_the_serving_dtype_is_refused(tiny_folder: Path) -> None:
    """Weights that overflow in float16 are refused by a server that computes in float16."""
    half = load_backbone(str(tiny_folder), dtype=torch.float16)
    adapter = make_adapter(identity=half.identity)
    large = {name: tensor * 2000 for name, tensor in adapter.tensors.items()}
    loud = checkpoint.parse(checkpoint.serialize(adapter.metadata, large))
    assert reason_of(half, loud) == "dry_run_not_finite"
    verify(load_backbone(str(tiny_folder)), loud)


@pytest.mark.parametrize("shape", [(1, 2), (3, 1), (3, 3), (3,), ()])
def test_logits_of_another_shape_are_refused(
    tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    """A forward that gives other than one row a text and one column a label is refused, even if it broadcasts."""
    monkeypatch.setattr(AdapterModel, "forward", lambda self, ids, types, packing: torch.zeros(shape))
    assert reason_of(tiny, make_adapter(identity=tiny.identity)) == "dry_run_shape"


def test_logits_that_depend_on_the_batch_are_refused(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward whose answer to a text depends on what else is in the batch is refused."""

    def crowded(self: AdapterModel, ids: torch.Tensor, types: torch.Tensor, packing: Packing) -> torch.Tensor:
        return torch.full((len(packing.lengths), 2), float(len(ids)))

    monkeypatch.setattr(AdapterModel, "forward", crowded)
    assert reason_of(tiny, make_adapter(identity=tiny.identity)) == "dry_run_batch"


def test_pooler_needs_a_pooler(tmp_path: Path) -> None:
    """A task that pools by BERT's pooler is refused on a backbone without one."""
    loaded = load_backbone(str(make_tiny_backbone(tmp_path / "bare", pooler=False)))
    assert reason_of(loaded, make_adapter(identity=loaded.identity, pooling="pooler")) == "pooling"


def test_max_length_beyond_the_positions_is_refused(tiny: LoadedBackbone) -> None:
    """A task longer than the backbone's positions is refused, one of exactly their number is not."""
    verify(tiny, make_adapter(identity=tiny.identity, max_length=128))
    assert reason_of(tiny, make_adapter(identity=tiny.identity, max_length=129)) == "max_length"


def test_shortest_inputs_pass(tiny: LoadedBackbone) -> None:
    """A task whose inputs are cut to four tokens, pairs included, can be verified."""
    verify(tiny, make_adapter(identity=tiny.identity, max_length=4, pair=True))
