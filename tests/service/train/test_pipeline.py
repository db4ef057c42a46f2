"""The files of a training and their order, and the refusals before it starts."""

import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from safetensors.torch import load_file

from adapters.backbone.source import load_backbone
from adapters.method.heads import SingleLabelOutput, decode
from adapters.serving.inference import predict_logits
from service.train import pipeline
from service.train.errors import TrainingError
from service.train.fit import output_folder
from service.train.options import TrainOptions
from tests.support.trainings import Row, read, sentiment, train, unsure, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_report_is_left_beside_the_adapter(options: TrainOptions, tmp_path: Path) -> None:
    """With the curves, the figures of the stored adapter and the wrong rows of the validation file."""
    options = options.change(validation=write_rows(tmp_path / "unsure.jsonl", unsure, 60, seed=1))
    result = train(options.change(epochs=1, learning_rate=1e-4))
    assert result.report == options.folder / "report.html"
    assert read(result).metadata.task.temperature != 1
    page = result.report.read_text()
    assert f"{result.metrics['accuracy']:.4f}" in page
    assert result.analysis
    assert result.analysis.num_mistakes == round(60 * (1 - result.metrics["accuracy"]))
    spec = read(result).metadata.task
    loaded = load_backbone(str(options.fit.backbone))
    rows = Path(str(options.data.validation)).read_text().splitlines()
    for mistake in result.analysis.mistakes:
        row = json.loads(rows[mistake.row])
        assert mistake.truth[0].name == row["label"]
        assert row["text"] in page
        # the probability that a server answers, temperature included
        (answer,) = decode(predict_logits(loaded, read(result), [row["text"]]), spec)
        assert isinstance(answer, SingleLabelOutput)
        assert mistake.predicted[0].probability == pytest.approx(answer.score, abs=1e-5)
        assert f"line {mistake.row + 1}<" in page


def test_mistakes_of_held_out_rows_have_their_place_in_the_whole_file(options: TrainOptions, tmp_path: Path) -> None:
    """The line of the file, not of the part that was held out."""
    numbers = iter(range(1000))

    def random_label(drawn: random.Random) -> Row:
        row = sentiment(drawn)
        return {"text": f"{row['text']} {next(numbers)}", "label": drawn.choice(["negative", "positive"])}

    rows_file = write_rows(tmp_path / "random.jsonl", random_label, 160, seed=0)
    options = options.change(train=rows_file)
    result = train(options.change(validation=None, epochs=1, learning_rate=1e-4))
    assert result.analysis
    rows = [json.loads(line) for line in Path(options.data.train).read_text().splitlines()]
    page = (options.folder / "report.html").read_text()
    found = re.findall(r"<bdi>([^<]*)</bdi></p>.*?>line (\d+)<", page, re.DOTALL)
    assert len(found) == len(result.analysis.mistakes) > 0
    for text, line in found:
        assert rows[int(line) - 1]["text"] == text


def test_a_report_that_cannot_be_made_costs_nothing_else(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter is stored, and one line says what is missing; an old report does not stay as if it were new."""
    options = options.change(overwrite=True, epochs=1)
    assert train(options).report

    def fail(*_: object) -> str:
        raise ValueError("no [page]")

    monkeypatch.setattr("service.train.pipeline.render_report", fail)
    console = Console(file=io.StringIO(), width=200)
    result = pipeline.train(options, console)
    assert result
    assert result.report is None
    assert read(result).digest == result.digest
    assert isinstance(console.file, io.StringIO)
    assert "report.html could not be written: ValueError('no [page]')" in console.file.getvalue()


def test_the_report_is_there_before_the_adapter(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter file tells that all is done."""
    written: list[str] = []
    write = output_folder.write_atomically

    def remember(path: Path, data: bytes) -> None:
        written.append(path.name)
        write(path, data)

    monkeypatch.setattr("service.train.pipeline.write_atomically", remember)
    train(options.change(epochs=1))
    assert written == ["report.html", "result.json", "adapter.safetensors"]


def test_checkpoints_hold_only_what_was_trained(options: TrainOptions) -> None:
    """A checkpoint has the adapter's tensors, not the backbone's."""
    adapter = read(train(options.change(epochs=1)))
    weights = load_file(next((options.folder / "checkpoints").glob("checkpoint-*/model.safetensors")))
    assert {name.removeprefix("inner.") for name in weights} == set(adapter.tensors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "Not A Name"}, "task 'Not A Name'"),
        ({"metric": "pearson"}, "--metric pearson: a single_label task has accuracy, f1, matthews"),
        ({"max_length": 1000}, "--max-length 1000: the backbone takes 128 tokens"),
        ({"mixed_precision": "fp16"}, "fp16 needs CUDA"),
    ],
)
def test_what_cannot_be_done_is_reported_before_training(options: TrainOptions, changes: Any, message: str) -> None:
    """Options that do not fit data, backbone or machine."""
    with pytest.raises(TrainingError, match=message):
        train(options.change(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bottleneck": 47}, "--bottleneck 47: it must be a multiple of --q 4"),
        ({"learning_rate": 0.0}, "--learning-rate 0.0: it must be greater than 0"),
        ({"url": "http://x"}, "--url needs a key of the server"),
        ({"url": "http://x", "key": "k", "registry": "sqlite://"}, "not both"),
    ],
)
def test_options_are_checked_when_made(options: TrainOptions, changes: Any, message: str) -> None:
    """Options that are wrong for all data are refused."""
    with pytest.raises(TrainingError, match=message):
        options.change(**changes)


def test_an_output_folder_that_cannot_be_written(options: TrainOptions, tmp_path: Path) -> None:
    """The error comes before training."""
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written"):
        train(options.change(output=tmp_path / "file" / "run"))
