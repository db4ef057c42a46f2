"""`adakron train --check`: what a training would make of its data, without training and without a file."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.train.check import examine
from service.train.command import app
from service.train.fit import estimate as estimate_module
from service.train.options import TrainOptions

pytestmark = pytest.mark.usefixtures("one_thread", "clean_environment")
LABELS = ["refund", "invoice", "invoice", "delivery"]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Sixty rows of three classes, one spelt in two ways, some of them long."""
    lines = [f"{'good ' * (30 if i % 10 == 0 else 3)}{i},{LABELS[i % 4]}" for i in range(60)]
    path = tmp_path / "data" / "[b]tickets.csv"
    path.parent.mkdir()
    path.write_text("\n".join(["text,label", *lines, "good day,Refund", "good day,Refund"]) + "\n")
    return str(path)


def check(file: str, backbone: Path, *arguments: str) -> Result:
    """Run the command in this process."""
    given = (
        "--task",
        "tickets",
        "--train",
        file,
        "--backbone",
        str(backbone),
        "--device",
        "cpu",
        "--no-cross-validate",
    )
    return CliRunner().invoke(
        app, [*given, "--max-length", "16", "--check", *arguments], env={"COLUMNS": "120", "TERM": "dumb"}
    )


def test_everything_is_reported_and_nothing_written(
    file: str, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Type with its reason, columns, rows, tokens, time, classes with their counts, warnings; code 0 and no file."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = check(file, tiny_folder)
    assert result.exit_code == 0, result.output
    for line in (
        "task     tickets",
        "type     single_label: 4 different texts such as 'refund', 'invoice', 'delivery'",
        "columns  text text; label label",
        "rows     55 to train on, 7 to validate (held out of the training data)",
        "tokens   7 in the median, 34 at most, ",
        "warning: [b]tickets.csv: labels that look alike are different classes: 'refund' (15 rows)",
        "warning: [b]tickets.csv, line 63 repeats line 62",
        "warning: [b]tickets.csv (held-out part): no row has 'Refund', 1 of the 4 labels",
        "more tokens than --max-length 16 keeps, 34 in the median, 34 at most",
        "warnings; nothing was trained, and nothing was written",
    ):
        assert line in result.stdout
    assert "time     about " in result.stdout
    assert sorted(
        (line.split()[1] for line in result.stdout.splitlines() if line.startswith(("│", "|"))), key=str.swapcase
    ) == ["delivery", "invoice", "refund", "Refund"]
    assert list((tmp_path / "empty").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "empty"]


def test_findings_as_json(file: str, tiny_folder: Path) -> None:
    """--json prints the same for programs, and needs --check."""
    findings = json.loads(check(file, tiny_folder, "--json").stdout)
    assert findings["labels"][0] == {"name": "Refund", "train": 2, "validation": 0}
    assert findings["train"] | {"cut": 0} == {
        "name": "[b]tickets.csv (training part)",
        "rows": 55,
        "median_tokens": 7,
        "longest_tokens": 34,
        "cut": 0,
    }
    assert findings["estimate"]["epochs"] == 10
    assert findings["estimate"]["seconds"] > 0
    assert (findings["held_out"], findings["pair_column"], findings["numbers"]) == (True, None, None)
    given = ("--task", "t", "--train", file, "--json")
    result = CliRunner().invoke(app, [*given])
    assert result.exit_code == 2
    assert "error: --json prints the findings of --check; give both" in result.stderr


def test_other_types(tmp_path: Path, tiny_folder: Path) -> None:
    """A regression on pairs has numbers instead of classes; one column per label makes a multi-label task."""
    rows = [f"good {i},bad {i},{i / 3:.2f}" for i in range(1, 60)]
    (tmp_path / "a.csv").write_text("\n".join(["text_a,text_b,score", *rows]) + "\n")
    said = check(str(tmp_path / "a.csv"), tiny_folder).stdout
    assert "numbers  0.33 to 19.67, " in said
    assert "columns  text text_a; second text text_b; label score" in said
    assert "no warnings; nothing was trained" in said
    rows = [f"good {i},{i % 2},{i % 3 % 2}" for i in range(60)]
    (tmp_path / "b.csv").write_text("\n".join(["text,angry,late", *rows]) + "\n")
    said = check(str(tmp_path / "b.csv"), tiny_folder, "--label-columns", "angry,late").stdout
    assert "type     multi_label: " in said
    assert "columns  text text; label angry, late" in said


def test_many_classes_are_cut(tmp_path: Path, tiny_folder: Path) -> None:
    """The most frequent and the rarest of more than twenty."""
    rows = [f"good {i} {name},class {name:02}" for name in range(30) for i in range(4 + name)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    said = check(str(tmp_path / "a.csv"), tiny_folder).stdout
    assert "... 10 more" in said
    assert "class 29" in said
    assert "class 00" in said
    assert "class 15" not in said.partition("... 10 more")[2]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("text,label\na,x\n\u200b,y\n", (), "a.csv, line 3: text is empty"),
        ("text,label\na,x\nb,x\n", (), "only the label 'x'"),
        ("text,label\na,x\nb,y\n", (), "has one row, so none can be held out"),
        ("text,label\na,x\nb,y\n", ("--task", "my_task"), "my-task"),
        ("text,label\na,x\nb,y\nc,x\nd,y\n", ("--metric", "pearson"), "a single_label task has accuracy"),
        ("text,label\na,x\nb,y\nc,x\nd,y\n", ("--max-length", "512"), "--max-length 512: the backbone takes 128"),
        ("text,label\na,x\nb,y\nc,x\nd,y\n", ("--backbone", "."), "has no config.json"),
        (
            "text,label\n" + "".join(f"{i},{'é' * 190}{i // 2:04}\n" for i in range(2048)),
            (),
            "the 1,024 labels have names of 198,656 characters together, about 154,",
        ),
        ("text,label\na,x\nb,y\nc,x\nd,y\n", ("--output", "{done}"), "holds a finished training"),
    ],
)
def test_what_a_training_refuses_is_refused(
    tmp_path: Path, tiny_folder: Path, content: str, arguments: tuple[str, ...], message: str
) -> None:
    """One line and code 2, as the training would end."""
    (tmp_path / "a.csv").write_text(content)
    done = tmp_path / "done"
    done.mkdir()
    (done / "adapter.safetensors").write_bytes(b"")
    result = check(str(tmp_path / "a.csv"), tiny_folder, *(item.format(done=done) for item in arguments))
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert message in line
    assert result.stdout == ""


def test_the_time_is_that_of_all_epochs(file: str, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock on which each batch takes a second: steps and a third of the validation, for each epoch."""
    ticks = itertools.count()
    monkeypatch.setattr(estimate_module.time, "perf_counter", lambda: float(next(ticks)))
    times: list[Any] = []
    for epochs in (1, 4):
        settings = {"epochs": epochs, "batch_size": 8, "max_length": 16, "cross_validate": False}
        options = TrainOptions.of(
            task="t", train=file, output=Path("unused"), **settings, device="cpu", backbone=str(tiny_folder)
        )
        found = examine(options).estimate
        assert (found.epochs, found.steps, found.device) == (epochs, 7 * epochs, "cpu")
        times.append(found.seconds)
    assert times[1] == pytest.approx(4 * times[0], rel=0.01)
    assert times[0] == pytest.approx(7 + 7 * 7 / 55 / 3, rel=0.25)  # all batches hardly differ


def test_a_cross_validation_is_announced(file: str, tiny_folder: Path) -> None:
    """Few rows without validation data are all trained and all scored, and the time is that of three trainings."""
    result = check(file, tiny_folder, "--cross-validate", "--json")
    findings = json.loads(result.stdout)
    assert findings["cross_validated"]
    assert (findings["train"]["rows"], findings["validation"]["rows"]) == (62, 60)  # one class has one input
    assert "(all by cross-validation)" in check(file, tiny_folder, "--cross-validate").stdout
