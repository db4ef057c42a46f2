"""Data that an adapter file cannot hold is refused before the first training step, with the remedy."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters import checkpoint
from service.train import pipeline
from service.train.check import examine
from service.train.errors import TrainingError
from service.train.options import TrainOptions

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = {"epochs": 1, "max_length": 16, "pooling": "mean"}


class Begun(Exception):
    """The training has passed every check."""


def options(tmp_path: Path, backbone: Path, labels: Sequence[Any], **others: Any) -> TrainOptions:
    """A training on four rows of each label."""
    rows = tmp_path / "train.jsonl"
    records = (
        {"text": f"{word} film {index}", "label": label} for index, label in enumerate(labels) for word in "abcd"
    )
    rows.write_text("".join(json.dumps(record) + "\n" for record in records))
    return TrainOptions.of(
        task="t", train=str(rows), output=tmp_path / "out", backbone=str(backbone), **QUICK, **others
    )


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step would be an error of its own."""

    def begin(*_: Any) -> None:
        raise Begun

    monkeypatch.setattr(pipeline, "run_training", begin)


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize(
    ("count", "character", "length"),
    [(400, "x", 50), (400, "語", 50), (400, '"', 50), (1024, "x", 200), (300, "語", 200)],
)
def test_long_names_and_many_are_trained(
    tiny_folder: Path, tmp_path: Path, count: int, character: str, length: int
) -> None:
    """Characters count, not their escapes."""
    labels = [f"{index:04}".ljust(length, character) for index in range(count)]
    with pytest.raises(Begun):
        pipeline.train(options(tmp_path, tiny_folder, labels))


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("character", ["語", "👍", '"'])
def test_names_that_a_file_cannot_hold(tiny_folder: Path, tmp_path: Path, character: str) -> None:
    """The message says how many bytes are too many, and by how many each name must be shorter: with that it passes."""
    labels = [f"{index:04}".ljust(200, character) for index in range(700)]
    with pytest.raises(TrainingError, match=r"700 labels have names of 140,000 .* more than .* shorter") as told:
        pipeline.train(options(tmp_path, tiny_folder, labels))
    with pytest.raises(TrainingError, match="make each name"):
        examine(options(tmp_path, tiny_folder, labels))
    assert not (tmp_path / "out").exists()
    shorter = int(str(told.value).partition("make each name ")[2].partition(" bytes")[0])
    size = len(json.dumps(json.dumps(character, ensure_ascii=False)[1:-1], ensure_ascii=False).encode()) - 2
    labels = [label[: 200 - shorter // size - 1] for label in labels]
    with pytest.raises(Begun):
        pipeline.train(options(tmp_path, tiny_folder, labels))


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("values", [[20_000.5, 21_000.5, 25_000.25], [1.5, -0.5, 90_000.5], [1e8, 2e8, 1.5]])
def test_values_that_a_file_cannot_hold(tiny_folder: Path, tmp_path: Path, values: list[float]) -> None:
    """A head's bias has the size of the values that are learnt, and a file's numbers have a limit."""
    with pytest.raises(TrainingError, match=r"the values to predict are too large for an adapter file.*divide them"):
        pipeline.train(options(tmp_path, tiny_folder, values, type="regression"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(Begun):
        pipeline.train(options(tmp_path, tiny_folder, [value / max(values) for value in values], type="regression"))


@pytest.mark.parametrize("truncation", ["right", "left", "head-tail"])
def test_the_rules_of_tokenizing_are_stored(tiny_folder: Path, tmp_path: Path, truncation: Any) -> None:
    """A new file says where over-long texts are cut, and that special tokens in texts are text; its golden examples
    follow both, or it would not be finished.
    """
    labels = ["one two three " * 9 + "[SEP] good", "four five six " * 9 + "[SEP] bad"]
    given = options(tmp_path, tiny_folder, ["good", "bad"], truncation=truncation)
    rows = [{"text": f"{text} {index}", "label": text.split()[-1]} for text in labels for index in range(8)]
    Path(given.data.train).write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = pipeline.train(given)
    assert result is not None
    assert result.path is not None
    metadata = checkpoint.parse(result.path.read_bytes()).metadata
    assert metadata.format_version == 2
    assert (metadata.task.truncation, metadata.task.special_tokens) == (truncation, "text")
    assert metadata.examples
