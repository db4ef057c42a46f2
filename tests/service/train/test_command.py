"""`adakron train`: its help, its output and its exit codes."""

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapters import checkpoint
from service.train.command import app, remedy
from service.train.errors import PublishError, TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = {"positive": ("good", "great"), "negative": ("bad", "awful")}


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """A CSV file of two easy classes."""
    drawn = random.Random(0)
    labels = [drawn.choice(list(WORDS)) for _ in range(60)]
    lines = [f"film {i} is {drawn.choice(WORDS[label])},{label}" for i, label in enumerate(labels)]
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return str(path)


def adakron_train(*arguments: str, **environment: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "120", "TERM": "dumb"} | environment)


def one_line(result: Result) -> str:
    """The error line of a failed command, which prints no traceback."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert "Traceback" not in result.output
    return lines[0]


def test_help_shows_groups_and_examples() -> None:
    """Options are in groups, and there are examples."""
    result = adakron_train("--help")
    assert result.exit_code == 0
    for panel in ("Data", "Adapter", "Training", "Output", "Publish"):
        assert f" {panel} " in result.output
    assert "adakron train --task sentiment --train reviews.csv" in result.output
    assert "accelerate launch" in result.output


def test_help_needs_no_torch() -> None:
    """The command's module is imported by every `adakron` command, and torch takes seconds."""
    code = "import sys, service.train.command; sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_training_ends_with_its_scores_and_the_next_command(rows: str, tmp_path: Path, tiny_folder: Path) -> None:
    """From one CSV file, without any other option that matters; the backbone comes from the environment."""
    output = tmp_path / "run"
    settings = (
        "--learning-rate",
        "0.02",
        "--batch-size",
        "8",
        "--epochs",
        "2",
        "--max-length",
        "16",
        "--device",
        "cpu",
        "--no-cross-validate",
    )
    arguments = ("--task", "reviews", "--train", rows, "--output", str(output), "--bottleneck", "8", *settings)
    result = adakron_train(*arguments, ADAKRON_BACKBONE=str(tiny_folder), COLUMNS="60")
    assert result.exit_code == 0, result.output
    assert "no --validation" not in result.stdout
    assert "6 to validate (held out of the training data)" in " ".join(result.stderr.split())
    assert re.search(r"epoch 2\.0/2  loss \d\.\d{4}  accuracy \d\.\d{4}  .*texts/s  0:00 left", result.stderr)
    adapter = checkpoint.parse((output / "adapter.safetensors").read_bytes())
    assert f"SHA-256 {adapter.digest}" in result.stdout.splitlines()
    assert f"report  {output / 'report.html'}" in result.stdout.splitlines()
    assert "Confusion: truth down, predicted across" in result.stdout
    assert f"adakron push reviews {output}/adapter.safetensors" in result.stdout
    assert json.loads((output / "result.json").read_text())["metrics"] == adapter.metadata.metrics


@pytest.mark.parametrize(
    ("header", "fields", "further", "kind"),
    [
        ("text,labels", ("red|blue", "red", "", "blue"), (), "multi_label, 2 labels"),
        ("text,red,blue", ("1,1", "1,0", "0,0", "0,1"), ("--label-columns", "red, blue"), "multi_label, 2 labels"),
        (
            "text,labels",
            ('"[1, 1]"', '"[1, 0]"', '"[0, 0]"', '"[0, 1]"'),
            ("--label-names", "red, blue"),
            "multi_label, 2 labels",
        ),
        ("text,score", ("3.5", "4", "1", "2.25"), (), "regression, regression"),
        ("text,score", ("3", "4", "1", "2"), ("--type", "regression"), "regression, regression"),
    ],
)
def test_every_kind_of_label_needs_one_command(
    tmp_path: Path, tiny_folder: Path, header: str, fields: tuple[str, ...], further: tuple[str, ...], kind: str
) -> None:
    """Several labels in a field or in columns, and numbers; in another encoding, with a warning about duplicates."""
    lines = [f"né {i % 30},{fields[i % 30 % 4]}" for i in range(40)]
    (tmp_path / "data.csv").write_text("\n".join([header, *lines]) + "\n", encoding="cp1252")
    paths = ("--train", str(tmp_path / "data.csv"), "--output", str(tmp_path / "run"), "--backbone", str(tiny_folder))
    settings = ("--encoding", "cp1252", "--epochs", "1", "--max-length", "16", "--device", "cpu")
    result = adakron_train("--task", "t", *paths, *settings, *further)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert f"task t: {kind}" in said
    assert "warning: data.csv, line 32 repeats line 2; 10 of 40 rows (25.0%)" in said
    result = adakron_train("--task", "t", *paths, *settings, *further, "--drop-duplicates", "--overwrite")
    assert "warning: data.csv: --drop-duplicates left out 10 of 40 rows" in " ".join(result.stderr.split())
    assert "repeats" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "t", "--train", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--task", "T!", "--train", "{rows}"), "task 'T!': a name is"),
        (("--task", "t", "--train", "{rows}", "--bottleneck", "50"), "--bottleneck 50: it must be a multiple of --q 4"),
        (("--task", "t", "--train", "{rows}", "--label-column", "[bold]"), "no column '[bold]' (--label-column)"),
        (("--task", "t", "--train", "{rows}", "--backbone", "{folder}"), "has no config.json"),
        (("--task", "t", "--train", "{rows}", "--url", "http://x"), "--url needs a key of the server"),
        (
            ("--task", "t", "--train", "{rows}", "--label-smoothing", "1"),
            "--label-smoothing 1.0: it must be less than 1",
        ),
        (("--task", "t", "--train", "{rows}", "--encoding", "latin-99"), "--encoding latin-99: unknown encoding"),
    ],
)
@pytest.mark.usefixtures("clean_environment")
def test_mistakes_end_with_one_line_and_code_2(
    rows: str, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Mistakes in options, data and backbone."""
    filled = [item.format(rows=rows, folder=tmp_path) for item in arguments]
    result = adakron_train(*filled, "--output", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert message in one_line(result)


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (PublishError("x is complete, but could not be published"), 1, "could not be published"),
        (KeyboardInterrupt(), 130, "--resume continues from the last checkpoint"),
        (ModuleNotFoundError("No module named 'datasets'", name="datasets"), 2, "datasets is not installed; training"),
    ],
)
def test_other_ends_have_their_own_codes(
    rows: str, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, message: str
) -> None:
    """A training that could not be published, was stopped by hand, or lacks its libraries."""

    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("service.train.pipeline.train", fail)
    result = adakron_train("--task", "t", "--train", rows)
    assert result.exit_code == code
    assert message in one_line(result)


def test_the_remedy_fits_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation by `make serve` is completed by `make`, any other environment by pip."""
    assert remedy(tmp_path) == "pip install 'adakron-serve[train]'"
    (tmp_path / "Makefile").touch()
    assert remedy(tmp_path) == "pip install 'adakron-serve[train]'"
    monkeypatch.setattr("sys.prefix", str(tmp_path / ".venv"))
    assert remedy(tmp_path) == f"make -C {tmp_path} training"


def test_a_missing_file_is_reported_without_torch(tmp_path: Path) -> None:
    """A typing error in --train or --validation costs no import of seconds."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom service.train.command import app\n"
        f"present = {str(tmp_path / 'present.csv')!r}\n"
        "for files in (['--train', 'x.csv'], ['--train', present, '--validation', 'x.csv']):\n"
        "    result = CliRunner().invoke(app, ['--task', 't', *files])\n"
        "    assert 'x.csv: no such file' in result.output, result.output\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'datasets', 'pyarrow')))"
    )
    (tmp_path / "present.csv").write_text("text,label\na,x\n")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path, tiny_folder: Path) -> None:
    """Neither by the names of columns and files, nor by texts or labels, in errors and in warnings."""
    path = tmp_path / "a\x1b[31m.csv"
    content = "\x1b[2J,text,Label,score\n1,\x1b]0;a\x07,\x1b[32mx,1\n"
    for options in ((), ("--label-column", "text"), ("--label-column", "missing"), ("--label-column", "\x1b[2J")):
        path.write_text(content * 2)
        result = adakron_train("--task", "t", "--train", str(path), "--backbone", str(tiny_folder), *options)
        assert result.exit_code == 2
        assert one_line(result).isprintable()
    path.write_text("text,label,score\n" + "good \x1b[2J,x,1\nbad,y,2\n" * 4)
    run = ("--epochs", "1", "--max-length", "8", "--device", "cpu", "--output", str(tmp_path / "run"))
    result = adakron_train(
        *("--task", "t", "--train", str(path), "--validation", str(path), "--backbone", str(tiny_folder)), *run
    )
    assert result.exit_code == 0, result.output
    assert r"warning: a\x1b[31m.csv: column label is read, not score" in result.stderr
    assert "\x1b[2J" not in result.output
    assert "\x1b[31m" not in result.stderr


def test_a_file_whose_name_looks_like_markup(
    rows: str, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output shows the name unchanged."""

    def fail(*_: object) -> None:
        raise TrainingError("enough")

    monkeypatch.setattr("service.train.pipeline.run_training", fail)
    validation = shutil.copy(rows, tmp_path / "[red].csv")
    paths = ("--train", rows, "--validation", str(validation), "--output", str(tmp_path / "run"))
    result = adakron_train("--task", "t", *paths, "--backbone", str(tiny_folder), "--device", "cpu")
    assert one_line(result) == "error: enough"
    assert "60 to validate ([red].csv)" in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", [":bug:", "a:train:b"])
def test_no_text_becomes_a_picture(tmp_path: Path, name: str) -> None:
    """`:bug:` in the name of a file or a label is printed unchanged, in errors and in findings."""
    assert f"{name}.csv: no such file" in adakron_train("--task", "t", "--train", f"{name}.csv").stderr
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{(name, name.upper())[i % 2]}\n" for i in range(8)))
    result = adakron_train("--task", "t", "--train", str(path), "--check", "--output", str(tmp_path / "out"))
    assert f"{name!r} (4 rows)" in result.stdout, result.output
