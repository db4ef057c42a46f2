"""`--search`: several trainings, the best is kept."""

import json
from itertools import islice
from pathlib import Path

import pytest
from rich.console import Console

from adapters import checkpoint
from service.registry import Registry
from service.train import search as search_module
from service.train.errors import TrainingError
from service.train.options import TrainOptions
from service.train.search import candidates, search
from tests.support.trainings import sentiment, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def options(tmp_path: Path, tiny_folder: Path) -> TrainOptions:
    """A training of a second."""
    return TrainOptions.of(
        task="sentiment",
        train=write_rows(tmp_path / "train.jsonl", sentiment, 80, seed=0),
        validation=write_rows(tmp_path / "validation.jsonl", sentiment, 40, seed=1),
        output=tmp_path / "run",
        backbone=str(tiny_folder),
        epochs=2,
        learning_rate=1e-4,
        device="cpu",
    )


def test_candidates(options: TrainOptions) -> None:
    """The recipe first, then draws within the span, the same for any number, others for another seed."""
    drawn = list(islice(candidates(options.fit), 200))
    assert (drawn[0].learning_rate, drawn[0].epochs) == (1e-4, 2)
    assert drawn[:5] == list(islice(candidates(options.fit), 5))
    assert drawn[1:] != list(islice(candidates(options.change(seed=7).fit), 200))[1:]
    assert {candidate.epochs for candidate in drawn} == {1, 2, 4}
    rates = [candidate.learning_rate for candidate in drawn]
    assert 2.4e-5 <= min(rates) < 4e-5
    assert 2.5e-4 < max(rates) <= 4.1e-4


def test_the_best_is_kept_and_published(options: TrainOptions, tmp_path: Path, url: str) -> None:
    """OUTPUT has the files of the best candidate, search.json all scores, and the registry one version: the best."""
    options = options.change(registry=url)
    result = search(options, 2, Console(quiet=True))
    assert result is not None
    lines = json.loads((options.folder / "search.json").read_text())
    assert [line["best"] for line in lines].count(True) == 1
    best = max(lines, key=lambda line: line["score"])
    assert best["score"] == result.metrics["accuracy"] == max(line["score"] for line in lines)
    assert result.path == options.folder / "adapter.safetensors"
    adapter = checkpoint.parse(result.path.read_bytes())
    assert adapter.digest == result.digest
    assert adapter.metadata.training["hyper_parameters"]["learning_rate"] == best["learning_rate"]  # type: ignore[call-overload, index]
    assert result.report == options.folder / "report.html"
    assert (options.folder / "report.html").exists()
    registry = Registry.open(url)
    try:
        assert [version.digest for version in registry.snapshot().tasks["sentiment"].versions.values()] == [
            result.digest
        ]
    finally:
        registry.close()


def test_resumed_it_trains_only_what_is_missing(options: TrainOptions) -> None:
    """With --resume, and a larger number, finished candidates stay as they are."""
    first = search(options, 2, Console(quiet=True))
    before = json.loads((options.folder / "search.json").read_text())
    files = {path: path.stat().st_mtime_ns for path in (options.folder / "search").glob("*/adapter.safetensors")}
    assert len(files) == 2
    again = search(options.change(resume=True), 3, Console(quiet=True))
    assert first is not None
    assert again is not None
    assert {path: path.stat().st_mtime_ns for path in files} == files
    after = json.loads((options.folder / "search.json").read_text())
    assert [line["score"] for line in after[:2]] == [line["score"] for line in before]
    assert again.metrics["accuracy"] >= first.metrics["accuracy"]


def test_at_least_one(options: TrainOptions) -> None:
    """Zero trainings are refused before anything is read."""
    with pytest.raises(TrainingError, match="--search 0: give 1"):
        search(options, 0)
    assert not options.folder.exists()


def test_other_processes_of_a_distributed_training(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """They train every candidate and write nothing."""
    monkeypatch.setattr(search_module, "train", lambda options, console: None)
    assert search(options, 2, Console(quiet=True)) is None
    assert not options.folder.exists()
