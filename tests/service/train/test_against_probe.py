"""Trainings beside the probe: they start from it, report it, and never publish less than it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from adapters.backbone.source import load_backbone
from adapters.serving.inference import predict_logits
from adapters.serving.verification import verify
from service.train.fit import trainer as trainer_module
from service.train.fit.probe import Probe
from service.train.options import TrainOptions
from service.train.result import TrainResult, print_summary
from tests.support.trainings import read, sentiment, train, unsure, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def summary(result: TrainResult) -> str:
    """The text that the command prints at the end."""
    console = Console(file=io.StringIO(), width=100)
    print_summary(console, result)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_comparison_is_in_every_report(options: TrainOptions) -> None:
    """result.json, the terminal and report.html have the adapter's score, the probe's and the interval."""
    result = train(options)
    found = result.comparison
    assert found is not None
    assert found.score == result.metrics["accuracy"]
    assert found.num_rows == 60
    assert found.low <= found.score <= found.high
    assert json.loads((options.folder / "result.json").read_text())["comparison"]["probe"] == found.probe
    line = found.describe()
    assert line in summary(result)
    assert line in (options.folder / "report.html").read_text()


def test_every_method_starts_from_the_probe(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that the trainer gets computes the probe: identity adapters, and a converged head."""
    starts: list[np.ndarray] = []

    def make_trainer(model: Any, *arguments: Any, **others: Any) -> Any:
        starts.append(model.head.weight.detach().numpy().copy())
        return trainer_module.make_trainer(model, *arguments, **others)

    monkeypatch.setattr("service.train.pipeline.make_trainer", make_trainer)
    for method in ("adakron", "full", "pfeiffer"):
        train(options.change(method=method, epochs=1, output=options.folder / method))
    head = train(options.change(method="head", output=options.folder / "head"))
    assert all(np.array_equal(start, starts[0]) for start in starts)
    assert len(starts) == 3  # the method `head` is the probe: nothing is trained
    assert head.epochs == 0
    assert head.comparison is None
    adakron = json.loads((options.folder / "adakron" / "result.json").read_text())
    assert head.metrics["accuracy"] == pytest.approx(adakron["comparison"]["probe"])
    assert "cannot be published" in summary(head)


def test_an_adapter_worse_than_the_probe_is_not_published(options: TrainOptions) -> None:
    """If the training spoils the model, the file holds the probe with weak adapters, passes the checks, and says so."""
    ruined = train(options.change(learning_rate=3.0, epochs=1))
    found = ruined.comparison
    assert found is not None
    assert found.holds_probe
    assert found.score >= found.probe - 0.02
    adapter = read(ruined)
    assert adapter.metadata.training["holds"] == "probe"
    loaded = load_backbone(str(options.fit.backbone))
    verify(loaded, adapter)
    said = summary(ruined)
    assert "No checkpoint is better than the probe" in said
    assert "Publish it nevertheless:  adakron push sentiment" in said
    texts = ["the film is good", "the plot is very awful"]
    assert predict_logits(loaded, adapter, texts).argmax(axis=1).tolist() == [1, 0]


def test_an_adapter_as_good_as_the_probe_is_kept(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """With equal scores the file holds the trained adapter, and the output says that the probe is as good."""
    replaced: list[Any] = []
    monkeypatch.setattr(Probe, "replace", lambda self, model, seed: replaced.append(model))
    result = train(options)
    assert result.metrics["accuracy"] > 0.95
    assert replaced == []
    assert "holds" not in read(result).metadata.training
    assert result.comparison is not None
    assert result.comparison.score == result.comparison.probe
    assert "The adapter is not better than the probe" in summary(result)


def test_a_result_of_an_earlier_version_is_read(options: TrainOptions) -> None:
    """A finished training without a comparison can be published again."""
    first = train(options.change(epochs=1))
    path = options.folder / "result.json"
    numbers = json.loads(path.read_text())
    del numbers["comparison"]
    path.write_text(json.dumps(numbers))
    again = train(options.change(epochs=1, resume=True))
    assert again.comparison is None
    assert again.digest == first.digest
    assert "Publish it:" in summary(again)


def test_few_rows_are_cross_validated(options: TrainOptions, tmp_path: Path) -> None:
    """Without validation data every row is scored by a training without it, and the output and the file say so."""
    rows = write_rows(tmp_path / "few.jsonl", unsure, 60, seed=4)
    few = options.change(train=rows, validation=None, batch_size=None, epochs=None, recipe="default")
    result = train(few)
    found = result.comparison
    assert found is not None
    assert (found.num_folds, found.num_rows) == (3, 53)  # the labels of 7 rows contradict each other
    assert "(3-fold cross-validation)" in summary(result)
    record = read(result).metadata.training
    assert record["folds"] == 3
    assert record["data"]["train"]["rows"] == 60  # type: ignore[call-overload, index]  # JSON
    assert found.holds_probe is (record.get("holds") == "probe")
    verify(load_backbone(str(options.fit.backbone)), read(result))
    again = train(few.change(output=tmp_path / "again"))
    assert again.digest == result.digest
    held_out = train(few.change(output=tmp_path / "held", cross_validate=False, epochs=1))
    assert held_out.comparison is not None
    assert held_out.comparison.num_rows < 10


def test_a_tie_of_few_rows_keeps_the_probe(options: TrainOptions, tmp_path: Path) -> None:
    """Rows that the probe answers rightly: cross-validated, the adapter is not better, so the file holds the probe."""
    rows = write_rows(tmp_path / "easy.jsonl", sentiment, 60, seed=4)
    result = train(options.change(train=rows, validation=None, epochs=1))
    assert result.comparison is not None
    if result.comparison.score <= result.comparison.probe:
        assert result.comparison.holds_probe
        assert result.metrics["accuracy"] == result.comparison.probe
