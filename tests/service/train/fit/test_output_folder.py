"""The output folder: what lies in it is replaced or continued only where the options say so."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.train import pipeline
from service.train.errors import TrainingError
from service.train.fit.output_folder import check_folder, prepare_folder
from service.train.options import TrainOptions
from service.train.search import search

RESULT = {"task": "reviews", "method": "adakron", "metric": "accuracy", "metrics": {"accuracy": 0.91234}}
FINISHED = r"holds a finished training \(task reviews, accuracy 0\.9123, 20\d\d-\d\d-\d\d\): --overwrite replaces it, "


@pytest.fixture
def options(tmp_path: Path) -> TrainOptions:
    """A training whose data does not exist, into a folder that holds a finished one."""
    leave(tmp_path / "run")
    return TrainOptions.of(task="other", train=str(tmp_path / "missing.csv"), output=tmp_path / "run")


def leave(folder: Path, **changes: Any) -> None:
    """Put the last two files of a training into `folder`."""
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(RESULT | changes))
    (folder / "adapter.safetensors").write_bytes(b"an adapter")


@pytest.mark.parametrize("start", [pipeline.train, lambda options: search(options, 2)], ids=["train", "search"])
def test_a_finished_training_is_not_replaced_without_a_word(options: TrainOptions, start: Any) -> None:
    """It is refused before the data is read, by a line with task, score and day of what lies there."""
    with pytest.raises(TrainingError, match=FINISHED):
        start(options)
    assert (options.folder / "adapter.safetensors").read_bytes() == b"an adapter"


def test_a_method_without_an_adapter_counts(options: TrainOptions) -> None:
    """Its result.json alone is a finished training; that of AdaKron without its adapter is one that was killed."""
    (options.folder / "adapter.safetensors").unlink()
    check_folder(options.folder, options.publish)
    (options.folder / "result.json").write_text(json.dumps(RESULT | {"method": "pfeiffer"}))
    with pytest.raises(TrainingError, match=FINISHED):
        check_folder(options.folder, options.publish)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"metric": "f1", "method": "adakron", "metrics": {"f1": null}}'])
def test_an_adapter_of_unknown_origin_counts(options: TrainOptions, content: str) -> None:
    """If result.json is damaged or incomplete, the message names the adapter file and its day."""
    (options.folder / "result.json").write_text(content)
    with pytest.raises(TrainingError, match=r"a finished training \(adapter\.safetensors, 20\d\d-\d\d-\d\d\)"):
        check_folder(options.folder, options.publish)


def test_the_options_say_what_becomes_of_it(options: TrainOptions) -> None:
    """--overwrite and --resume pass, not both; a training to overwrite is there until the new one has read its data."""
    check_folder(options.folder, options.publish.change(overwrite=True))
    check_folder(options.folder, options.publish.change(resume=True))
    with pytest.raises(TrainingError, match="give one of them"):
        options.change(overwrite=True, resume=True)
    with pytest.raises(TrainingError, match=re.escape("missing.csv")):
        pipeline.train(options.change(overwrite=True))
    assert (options.folder / "adapter.safetensors").exists()
    prepare_folder(options.folder, {}, "adakron", resume=False)
    assert [entry.name for entry in options.folder.iterdir()] == ["training.json"]


def test_another_tasks_training_is_not_resumed(options: TrainOptions) -> None:
    """The plan has the name of the task."""
    (options.folder / "training.json").write_text(json.dumps({"task": "reviews"}))
    with pytest.raises(TrainingError, match="--resume: task differ from those of the training"):
        prepare_folder(options.folder, {"task": "other"}, "adakron", resume=True)
