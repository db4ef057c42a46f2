"""The dry run on the backbone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from adapters import checkpoint
from adapters.adapter import Adapter, GoldenExample
from adapters.errors import CheckpointError
from adapters.inference import predict_logits
from adapters.model import AdapterModel
from adapters.source import LoadedBackbone, load_backbone
from adapters.verification import verify
from tests.factories import make_adapter
from tests.tiny import make_tiny_backbone

TEXTS = ("a good film", "the plot is dull", "one two three")


def with_examples(loaded: LoadedBackbone, error: float = 0.0, **options: Any) -> Adapter:
    adapter = make_adapter(identity=loaded.identity, **options)
    logits = predict_logits(loaded, adapter, list(TEXTS))
    logits[1, 0] += error
    examples = tuple(
        GoldenExample(inputs=text, logits=tuple(row)) for text, row in zip(TEXTS, logits.tolist(), strict=True)
    )
    metadata = adapter.metadata.model_copy(update={"examples": examples})
    return checkpoint.loads(checkpoint.dumps(metadata, adapter.tensors))


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
    """An adapter that leaves the backbone as it is cannot be what somebody meant to publish."""
    adapter = make_adapter(identity=tiny.identity)
    tensors = {name: tensor * ("up." not in name) for name, tensor in adapter.tensors.items()}
    idle = checkpoint.loads(checkpoint.dumps(adapter.metadata, tensors))
    assert reason_of(tiny, idle) == "no_effect"


def test_logits_that_are_not_finite_are_refused(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run that gives NaN is refused."""
    monkeypatch.setattr(AdapterModel, "forward", lambda self, ids, types, packing: torch.full((3, 2), torch.nan))
    assert reason_of(tiny, make_adapter(identity=tiny.identity)) == "dry_run"


def test_pooler_needs_a_pooler(tmp_path: Path) -> None:
    """A task that pools by BERT's pooler is refused on a backbone without one."""
    loaded = load_backbone(str(make_tiny_backbone(tmp_path / "bare", pooler=False)))
    assert reason_of(loaded, make_adapter(identity=loaded.identity, pooling="pooler")) == "pooling"


def test_max_length_beyond_the_positions_is_refused(tiny: LoadedBackbone) -> None:
    """A task longer than the backbone's positions is refused."""
    assert reason_of(tiny, make_adapter(identity=tiny.identity, max_length=129)) == "config"
