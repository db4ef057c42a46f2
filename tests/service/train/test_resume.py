"""Killed, unfinished and finished trainings: they resume exactly, and are replaced only on request."""

import io
import re
from typing import Any

import pytest
from rich.console import Console
from transformers import TrainerCallback

from service.train import pipeline
from service.train.errors import TrainingError
from service.train.fit import trainer as trainer_module
from service.train.options import TrainOptions
from tests.support.trainings import (
    read,
    train,
)

pytestmark = pytest.mark.usefixtures("one_thread")


class Killed(Exception):
    """Stands for the end of the process."""


class KillAt(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Raises Killed in step `step`."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Trainer calls this after each step."""
        if state.global_step == self.step:
            raise Killed


def kill_at(step: int, options: TrainOptions, monkeypatch: pytest.MonkeyPatch, console: Console | None = None) -> None:
    """Run a training that dies in its step `step`."""

    def make_trainer(*arguments: Any, **others: Any) -> Any:
        trainer = trainer_module.make_trainer(*arguments, **others)
        trainer.add_callback(KillAt(step))
        return trainer

    with monkeypatch.context() as patch:
        patch.setattr("service.train.pipeline.make_trainer", make_trainer)
        with pytest.raises(Killed):
            pipeline.train(options, console or Console(quiet=True))


@pytest.mark.parametrize(("step", "evaluate_every"), [(15, None), (13, 4)])
def test_a_killed_training_resumes_exactly(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, step: int, evaluate_every: int | None
) -> None:
    """Killed between two checkpoints, at an epoch's end or within one, it ends with the same weights, bit for bit."""
    options = options.change(evaluate_every=evaluate_every, epochs=2)
    whole = read(train(options.change(output=options.folder / "whole")))
    killed = options.change(output=options.folder / "killed")
    kill_at(step, killed, monkeypatch)
    assert not (killed.folder / "adapter.safetensors").exists()
    resumed = read(train(killed.change(resume=True)))
    for name, tensor in whole.tensors.items():
        assert tensor.equal(resumed.tensors[name]), name
    assert whole.metadata.metrics == resumed.metadata.metrics
    # the curves are whole: those from before the kill come from the checkpoint
    curves = [
        re.findall(r'points="([^"]+)"', (options.folder / name / "report.html").read_text())
        for name in ("whole", "killed")
    ]
    assert len(curves[0]) > 5
    assert curves[0] == curves[1]


def test_a_killed_training_gives_the_cursor_back(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar hides it while it is shown, and goes however the training ends."""
    file = io.StringIO()
    kill_at(5, options, monkeypatch, Console(file=file, force_terminal=True, _environ={"TERM": "xterm"}))
    hidden, shown = (file.getvalue().rfind(f"\x1b[?25{letter}") for letter in "lh")
    assert shown > hidden > 0


def test_a_checkpoint_that_was_cut_is_passed_over(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed while it wrote a checkpoint resumes from the one before."""
    options = options.change(epochs=4)
    kill_at(25, options, monkeypatch)
    newest = max((options.folder / "checkpoints").glob("checkpoint-*"), key=lambda path: path.stat().st_mtime)
    (newest / "trainer_state.json").unlink()
    assert train(options.change(resume=True)).metrics["accuracy"] > 0.8


def test_an_unfinished_training_is_not_overwritten(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --resume the folder of a killed training is refused; with it, other options are refused by name."""
    kill_at(15, options, monkeypatch)
    with pytest.raises(TrainingError, match=r"unfinished training \(20..-..-..\): continue it with --resume"):
        train(options)
    with pytest.raises(TrainingError, match=r"--resume: recipe, seed differ"):
        train(options.change(resume=True, seed=7, learning_rate=0.5))
    train(options.change(overwrite=True, epochs=1))


def test_a_finished_training_may_be_repeated(options: TrainOptions) -> None:
    """--overwrite trains again in the folder, --resume publishes again, and --resume in an empty folder trains."""
    options = options.change(epochs=1)
    first = train(options.change(resume=True))
    assert train(options.change(resume=True)) == first
    other = train(options.change(seed=5, overwrite=True))
    assert other.digest != first.digest
    assert sorted(entry.name for entry in options.folder.iterdir()) == [
        "adapter.safetensors",
        "checkpoints",
        "logs",
        "report.html",
        "result.json",
        "training.json",
    ]
