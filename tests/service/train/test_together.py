"""`adakron train --tasks`: several tasks trained together, one plain adapter each."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.serving.inference import predict_logits
from adapters.serving.verification import verify
from service.registry import Registry
from service.train.command import app
from service.train.errors import TrainingError
from service.train.result import TrainResult
from service.train.tasks_file import read_tasks
from service.train.together import train_tasks
from tests.support.trainings import FAST, same_animal, sentiment, warmth, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = {"mood": sentiment, "animals": same_animal, "warmth": warmth}
OPTIONS: dict[str, Any] = FAST | {
    "task": None,
    "train": None,
    "gate": None,
    "bottleneck": 16,
    "experts": 2,
    "device": "cpu",
    "epochs": 4,
    "learning_rate": 5e-3,
    "initialisation": "unit",
}
TOML = """
[mood]
train = "mood.jsonl"
[animals]
train = "animals.jsonl"
[warmth]
train = "warmth.jsonl"
type = "regression"
metric = "spearman"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of three tasks: one of texts, one of pairs, and a regression."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, kind in KINDS.items():
        write_rows(folder / f"{name}.jsonl", kind, 120, seed=0)
    (folder / "tasks.toml").write_text(TOML)
    return folder


def train(folder: Path, output: Path, backbone: Path, *, gated: bool = True, **changes: Any) -> list[TrainResult]:
    tasks = read_tasks(folder / "tasks.toml", {**OPTIONS, "output": output, "backbone": str(backbone), **changes})
    return train_tasks(tasks, gated=gated, temperature=2, console=Console(quiet=True))


@pytest.fixture(scope="module")
def trained(folder: Path, tiny_folder: Path) -> list[TrainResult]:
    """The three tasks, trained together with gates."""
    return train(folder, folder / "run", tiny_folder)


def test_each_task_gets_a_plain_adapter(trained: list[TrainResult], tiny: LoadedBackbone) -> None:
    """The files are ordinary adapters, pass the dry run, and record with which tasks they were trained."""
    assert [result.task for result in trained] == list(KINDS)
    for result in trained:
        assert result.path is not None
        adapter = checkpoint.parse_plain(result.path.read_bytes())
        verify(tiny, adapter)
        assert result.digest == adapter.digest
        assert dict(adapter.metadata.metrics) == dict(result.metrics)
        record: Any = adapter.metadata.training["together"]
        assert record == {
            "tasks": list(KINDS),
            "gate": "task",
            "experts": 2,
            "sampling_temperature": 2,
        }
        assert result.report is not None
        assert result.comparison is not None
    assert [result.metric for result in trained] == ["accuracy", "accuracy", "spearman"]


def test_answers_are_right(trained: list[TrainResult], tiny: LoadedBackbone) -> None:
    """The adapter of a task answers that task."""
    assert trained[0].path is not None
    adapter = checkpoint.parse_plain(trained[0].path.read_bytes())
    best = predict_logits(tiny, adapter, ["the film is very good", "the plot is boring"]).argmax(1)
    assert [adapter.metadata.task.labels[index] for index in best] == ["positive", "negative"]


def test_a_finished_training_is_published_without_training(
    trained: list[TrainResult], folder: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    """--resume publishes each adapter as a version of its task; another plan is refused."""
    url = f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    again = train(folder, folder / "run", tiny_folder, resume=True, registry=url)
    assert [result.digest for result in again] == [result.digest for result in trained]
    registry = Registry.open(url)
    assert [registry.metadata(task, 1).task.type for task in KINDS] == ["single_label", "single_label", "regression"]
    registry.close()
    with pytest.raises(TrainingError, match="differ from those of the training"):
        train(folder, folder / "run", tiny_folder, resume=True, seed=1)
    with pytest.raises(TrainingError, match=r"task mood: .* holds a finished training"):
        train(folder, folder / "run", tiny_folder)


def adakron_train(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(item) for item in arguments], env={"COLUMNS": "200", "TERM": "dumb"})


def test_the_command_trains_all_tasks(folder: Path, tmp_path: Path, tiny_folder: Path) -> None:
    """One command writes a folder for each task, and ends with the result of each."""
    arguments = ["--tasks", folder / "tasks.toml", "--gate", "none", "--epochs", 1, "--device", "cpu"]
    result = adakron_train(*arguments, "--max-length", 32, "--backbone", tiny_folder, "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    for task in KINDS:
        numbers = json.loads((tmp_path / "run" / task / "result.json").read_text())
        assert numbers["task"] == task
        assert f"adakron push {task} {tmp_path}/run/{task}/adapter.safetensors" in result.stdout
    adapter = checkpoint.parse_plain((tmp_path / "run" / "mood" / "adapter.safetensors").read_bytes())
    record: Any = adapter.metadata.training["together"]
    assert record["gate"] == "none"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --task NAME and --train FILE; or, for several tasks, --tasks FILE"),
        (("--task", "t"), "give --task NAME and --train FILE"),
        (("--tasks", "missing.toml"), "missing.toml: No such file or directory (--tasks)"),
        (("--tasks", "{tasks}", "--task", "t"), "--task: each task of --tasks has its own"),
        (("--tasks", "{tasks}", "--train", "a.csv"), "--train: each task of --tasks has its own"),
        (("--tasks", "{tasks}", "--label-column", "l"), "--label-column: each task of --tasks has its own"),
        (("--tasks", "{tasks}", "--drop-duplicates"), "--drop-duplicates: each task of --tasks has its own"),
        (("--tasks", "{tasks}", "--gate", "user"), "--gate user: with --tasks it is task, or none"),
        (("--tasks", "{tasks}", "--check"), "--tasks has no --check and no --search"),
        (("--tasks", "{tasks}", "--search", "2"), "--tasks has no --check and no --search"),
        (("--tasks", "{tasks}", "--method", "pfeiffer"), "not of --method pfeiffer"),
        (("--tasks", "{tasks}", "--gate", "none", "--method", "pfeiffer"), "--tasks trains AdaKron"),
        (("--tasks", "{tasks}", "--experts", "1"), "--experts 1: a gate mixes 2 to 64"),
        (("--tasks", "{tasks}", "--evaluate-every", "5"), "leave out --evaluate-every"),
        (("--tasks", "{tasks}", "--sampling-temperature", "0.5"), "--sampling-temperature 0.5: it must be greater"),
    ],
)
def test_mistakes_end_with_one_line_and_nothing_written(
    folder: Path, tmp_path: Path, tiny_folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Options that do not go with --tasks, and none of the data."""
    filled = [item.format(tasks=folder / "tasks.toml") for item in arguments]
    result = adakron_train(*filled, "--backbone", tiny_folder, "--output", tmp_path / "run")
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "run").exists()


def test_a_task_with_bad_data_is_named(folder: Path, tmp_path: Path, tiny_folder: Path) -> None:
    """A fault in the data of one task names the task, before any training."""
    (tmp_path / "bad.csv").write_text("text,label\na,x\n,y\n")
    (tmp_path / "tasks.toml").write_text(f'[mood]\ntrain = "{folder}/mood.jsonl"\n[bad]\ntrain = "bad.csv"\n')
    with pytest.raises(TrainingError, match=r"^task bad: bad\.csv, line 3: text is empty"):
        train(tmp_path, tmp_path / "run", tiny_folder)
    assert not (tmp_path / "run").exists()
