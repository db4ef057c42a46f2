"""The progress that a training shows while it runs."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from service.train.fit.progress import ProgressLines


class Run:
    """A training as Trainer tells callbacks of it, on a clock of its own: 2 epochs of 10 steps of 8 texts."""

    def __init__(self, console: Console, **state: Any) -> None:
        self.now = 1000.0
        self.lines = ProgressLines(console, "accuracy", num_validation=48, now=lambda: self.now)
        self.args = SimpleNamespace(
            train_batch_size=8,
            eval_batch_size=16,
            gradient_accumulation_steps=1,
            world_size=1,
            eval_strategy="epoch",
            num_train_epochs=2,
        )
        start = {"global_step": 0, "epoch": 0.0, "log_history": [], "best_metric": None, "is_world_process_zero": True}
        self.state = SimpleNamespace(max_steps=20, num_train_epochs=2, eval_steps=None, **(start | state))

    def tell(self, event: str, **others: Any) -> None:
        """Call one method of the callback."""
        getattr(self.lines, f"on_{event}")(self.args, self.state, None, **others)

    def epoch(self, loss: float, accuracy: float) -> None:
        """10 steps of 2 s, then 6 s of evaluation and checkpoint."""
        for _ in range(10):
            self.tell("step_begin")
            self.now += 2
            self.state.global_step += 1
            self.state.epoch = self.state.global_step / 10
            self.tell("step_end")
        self.tell("log", logs={"loss": loss})
        for _ in range(3):
            self.tell("prediction_step")
        self.now += 5
        self.tell("evaluate", metrics={"eval_accuracy": accuracy})
        self.now += 1
        self.tell("save")


def log_file() -> Console:
    """No terminal, and narrower than the lines."""
    return Console(file=io.StringIO(), width=40)


def written(console: Console) -> list[str]:
    """The lines on it."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_log_file_has_one_line_for_each_evaluation() -> None:
    """Epoch, loss, metric, best, speed and time left, in one line however narrow it is."""
    console = log_file()
    run = Run(console)
    run.tell("train_begin")
    run.epoch(0.5, 0.75)
    run.epoch(0.25, 0.7)
    run.tell("train_end")
    assert written(console) == [
        "epoch 1.0/2  loss 0.5000  accuracy 0.7500  best so far  4 texts/s  0:25 left",
        "epoch 2.0/2  loss 0.3529  accuracy 0.7000  best 0.7500  4 texts/s  0:00 left",
    ]


def test_a_resumed_training_counts_only_what_is_left() -> None:
    """It starts at the checkpoint's step, with its best score and its losses; what came before has cost no time."""
    console = log_file()
    log = [{"loss": 0.5, "step": 10}, {"eval_accuracy": 0.9, "step": 10}]
    run = Run(console, global_step=10, best_metric=0.9, log_history=log)
    run.now += 500  # rows that are passed over
    run.tell("train_begin")
    run.state.max_steps, run.state.num_train_epochs, run.args.num_train_epochs = 40, 4, 4
    run.epoch(0.25, 0.8)
    run.tell("train_end")
    line, stopped = written(console)
    assert line.startswith("epoch 2.0/4  loss 0.3529  accuracy 0.8000  best 0.9000  4 texts/s")
    assert stopped == "stopped at step 20 of 40: accuracy did not improve any more"


def test_time_left_after_a_resume() -> None:
    """20 steps of 2 s and two evaluations of 5 s, the checkpoint not yet counted; an hour of waiting is not in it."""
    console = log_file()
    run = Run(console, global_step=10)
    run.state.max_steps, run.state.num_train_epochs, run.args.num_train_epochs = 40, 4, 4
    run.tell("train_begin")
    run.now += 3600
    run.epoch(0.25, 0.8)
    assert written(console)[0].endswith("4 texts/s  0:50 left")


def test_a_terminal_has_a_bar_with_the_facts() -> None:
    """The bar has steps, and below them epoch, loss, scores, speed and time left; it shows a running evaluation."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    run = Run(console)
    run.tell("train_begin")
    run.state.global_step = 1
    run.tell("step_end")
    run.lines._live.refresh()
    assert "epoch 0.0/2  loss -  " in file.getvalue()
    run.state.global_step = 0
    run.epoch(0.5, 0.75)
    run.tell("step_begin")
    run.now += 1
    run.state.global_step = 11
    run.tell("step_end")
    run.lines._live.refresh()
    shown = file.getvalue()
    assert "11/20" in shown
    assert "epoch 1.0/2  loss 0.5000  accuracy 0.7500, best 0.7500" in shown
    assert "left" in shown
    run.tell("prediction_step")
    run.lines._live.refresh()
    assert "validating 1/3" in file.getvalue()
    run.tell("train_end")
    assert "\x1b[?25h" in file.getvalue()  # the cursor is there again


def test_only_the_main_process_shows_anything() -> None:
    """The others of a distributed training are silent."""
    console = log_file()
    run = Run(console, is_world_process_zero=False)
    run.tell("train_begin")
    run.epoch(0.5, 0.75)
    run.tell("train_end")
    assert written(console) == []


@pytest.mark.parametrize("times", [0, 2])
def test_closing_is_harmless(times: int) -> None:
    """Events before the start and after the end raise nothing; only the end is printed."""
    console = log_file()
    run = Run(console)
    for _ in range(times):
        run.lines.close()
    run.tell("train_begin")
    run.tell("train_end")
    run.lines.close()
    (line,) = written(console)
    assert line.startswith("stopped at step 0")
