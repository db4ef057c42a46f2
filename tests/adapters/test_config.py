"""AdapterConfig: counts, shapes, and what it refuses."""

from typing import Any

import pytest
from pydantic import ValidationError

from adapters.config import AdapterConfig, BackboneIdentity, TaskSpec

BERT_BASE = BackboneIdentity(
    name="bert-base-uncased", hidden_size=768, num_layers=12, weights_sha256="a" * 64, tokenizer_sha256="b" * 64
)
SINGLE = TaskSpec(type="single_label", labels=("no", "yes"), pair=False, pooling="pooler", max_length=128)


def config(**changes: Any) -> AdapterConfig:
    return AdapterConfig(**{"backbone": BERT_BASE, "p": 12, "layers": tuple(range(12)), "task": SINGLE} | changes)


@pytest.mark.parametrize(("p", "expected"), [(12, 599_232), (8, 414_864)])
def test_parameter_count_is_the_papers(p: int, expected: int) -> None:
    """On BERT-base an adapter of r=48 has 599,232 parameters, one of r=32 has 414,864."""
    assert config(p=p).num_parameters == expected
    assert config(p=p).bottleneck == 4 * p


def test_shapes_add_up_to_the_counts() -> None:
    """The tensors listed hold exactly the parameters counted."""
    shapes = config().tensor_shapes()
    total = sum(rows * (columns[0] if columns else 1) for rows, *columns in shapes.values())
    assert total == config().num_parameters + config().num_head_parameters


def test_regression_has_one_output() -> None:
    """A regression's head is one wide, and it has no labels."""
    task = TaskSpec(type="regression", labels=(), pair=True, pooling="mean", max_length=64)
    assert task.num_outputs == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": ()},
        {"layers": (1, 0)},
        {"layers": (0, 0)},
        {"layers": (0, 12)},
        {"layers": (-1, 0)},
        {"p": 0},
        {"p": 2.5},
        {"format_version": 3},
        {"activation": "relu"},
        {"surprise": 1},
    ],
)
def test_refuses_what_is_no_adapter(changes: dict[str, Any]) -> None:
    """Layers out of order or range, odd sizes, other versions and unknown fields are refused."""
    with pytest.raises(ValidationError):
        config(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ("only",)},
        {"labels": ("same", "same")},
        {"labels": ("ok", "")},
        {"labels": ("ok", "x" * 201)},
        {"labels": ("ok", "line\nbreak")},
        {"labels": ("ok", "turned\u202eround")},
        {"labels": ("ok", "no\u200bwidth")},
        {"type": "regression"},
        {"type": "other"},
        {"max_length": 2},
        {"pooling": "max"},
        {"temperature": 0.0},
        {"temperature": 100.5},
        {"temperature": float("nan")},
        {"temperature": "2"},
        {"type": "regression", "labels": (), "temperature": 2.0},
    ],
)
def test_refuses_odd_tasks(changes: dict[str, Any]) -> None:
    """Too few, repeated, empty, long or unprintable labels, unknown types and odd temperatures are refused."""
    with pytest.raises(ValidationError):
        TaskSpec(**(SINGLE.model_dump() | changes))


@pytest.mark.parametrize(
    "label", ["\u0645\u06cc\u200c\u062e\u0648", "👩\u200d💻", "Grüße\u00a0aus", "prix\u202f€", "[BUG]"]
)
def test_takes_labels_of_ordinary_writing(label: str) -> None:
    """Joiners of Persian and emoji, and spaces that do not break, may stand in a label."""
    assert TaskSpec(**(SINGLE.model_dump() | {"labels": ("ok", label)})).labels[1] == label


def test_is_frozen() -> None:
    """A config never changes."""
    with pytest.raises(ValidationError):
        config().p = 3  # type: ignore[misc]
