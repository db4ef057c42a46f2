"""Bad data and bad disks through the command line: one line with file, row and remedy, and nothing half-written."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from typer.testing import CliRunner, Result

from adapters import checkpoint
from service.train.command import app

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = [(f"film number {i} is {('good', 'bad')[i % 2]}", ("x", "y")[i % 2]) for i in range(20)]
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
LINES = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)
ARRAY = json.dumps([{"text": text, "label": label} for text, label in ROWS], indent=0)
SCORES = "text,score\n" + "".join(f"{text},{i / 2}\n" for i, (text, _) in enumerate(ROWS))


def parquet(tmp_path: Path) -> bytes:
    """A sound Parquet file."""
    path = tmp_path / "sound.parquet"
    Dataset.from_dict({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}).to_parquet(str(path))
    return path.read_bytes()


def adakron_train(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["--task", "t", *arguments], env={"COLUMNS": "80", "TERM": "dumb"})


Content = str | bytes | Callable[[Path], bytes] | None
FAULTS: dict[str, tuple[str, Content, tuple[str, ...], tuple[str, str]]] = {
    # what is wrong: file, its content, further options; where it is, and the remedy
    "missing file": ("data.csv", None, (), ("no such file", "no data file beside it")),
    "empty": ("data.csv", "", (), ("the file is empty", "it needs a header and rows")),
    "header only": ("data.csv", "text,label\n", (), ("it has no rows", "write them below the header")),
    "empty JSON array": ("data.json", "[]", (), ("it has no rows", "write them below")),
    "no header": (
        "data.csv",
        CSV.partition("\n")[2],
        (),
        ("no text column", "line 1 looks like a row, write a header"),
    ),
    "no text column": ("data.csv", CSV.replace("text", "txt", 1), (), ("it has txt, label", "--text-column")),
    "no label column": ("data.csv", CSV.replace("label", "lbl", 1), (), ("it has text, lbl", "--label-column")),
    "wrong column named": ("data.csv", CSV, ("--text-column", "txt"), ("no column 'txt'", "it has text, label")),
    "column twice": ("data.csv", "text,label,text\na,x,b\n", (), ("line 1", "rename one")),
    "one class": ("data.csv", CSV.replace(",y", ",x"), (), ("only the label 'x'", "add rows of another")),
    "empty text": ("data.csv", CSV + " ,x\n", (), ("line 22: text is empty", "remove the row")),
    "missing label": ("data.csv", CSV + "abc,\n", (), ("line 22: the label is missing", "fill it in")),
    "too many fields": ("data.csv", CSV + "a, b,x\n", (), ("line 22: 3 fields", "quote a field")),
    "not a number": ("data.csv", SCORES + "abc,four\n", (), ("line 22: label 'four'", "correct it")),
    "NaN in CSV": ("data.csv", SCORES + "abc,nan\n", (), ("line 22: label 'nan'", "correct it")),
    "infinity in CSV": ("data.csv", SCORES + "abc,-inf\n", (), ("line 22: label '-inf'", "correct it")),
    "too large": ("data.csv", SCORES + "abc,1e39\n", (), ("line 22: label '1e39'", "correct it")),
    "huge integer": (
        "data.jsonl",
        LINES.replace('"x"', "1").replace('"y"', "2") + '{"text": "a", "label": 1' + 400 * "0" + "}",
        ("--type", "regression"),
        ("line 21: label '1000", "correct it"),
    ),
    "NaN in JSON": ("data.jsonl", LINES + '{"text": "a", "label": NaN}', (), ("line 21: the label", "fill it in")),
    "infinity in JSON": ("data.jsonl", LINES + '{"text": "a", "label": Infinity}', (), ("line 21", "correct it")),
    "constant scores": ("data.csv", "text,score\na,1.5\nb,1.5\n", (), ("every score is 1.5", "--label-column")),
    "too large for float16": (
        "data.csv",
        SCORES + "abc,70000\n",
        ("--dtype", "float16"),
        ("line 22: 70000 is too large", "rescale"),
    ),
    "classes as numbers": ("data.csv", CSV, ("--type", "regression"), ("line 2: label 'x'", "--type single_label")),
    "weights of numbers": ("data.csv", SCORES, ("--class-weights", "balanced"), ("--class-weights", "leave it out")),
    "cut in a quote": ("data.csv", CSV + '"a film', (), ("line 22: an opening quote", "close it")),
    "cut in a row": ("data.csv", CSV + "a film", (), ("line 22: 1 field", "the file was cut there")),
    "cut TSV": ("data.tsv", CSV.replace(",", "\t") + "a fi", (), ("line 22: 1 field", "the file was cut there")),
    "cut JSON Lines": ("data.jsonl", LINES[:-9], (), ("line 20: not JSON", "fetch it again")),
    "cut JSON array": ("data.json", ARRAY[:-30], (), ("line 78", "fetch the file again")),
    "nested without end": ("data.jsonl", LINES + "[" * 100_000, (), ("line 21: not JSON", "correct the line")),
    "not an object": ("data.jsonl", LINES + "7\n", (), ("line 21: not an object", 'write {"text"')),
    "cut Parquet": ("data.parquet", lambda path: parquet(path)[:-40], (), ("it was cut", "fetch it again")),
    "cut in its data": ("data.parquet", lambda path: parquet(path)[:60], (), ("it was cut", "fetch it again")),
    "damaged Parquet": (
        "data.parquet",
        lambda path: parquet(path)[:40] + bytes(200) + parquet(path)[240:],
        (),
        ("not a Parquet file", "fetch it again"),
    ),
    "no gzip": ("data.csv.gz", CSV, (), ("not a gzip file", "pack it again")),
    "binary": ("data.csv", bytes(range(256)) * 9, (), ("line 3: not UTF-8", "Save it as text")),
    "binary as JSON": ("data.jsonl", bytes(range(128)), (), ("line 1: a NUL", "binary file?")),
    "binary as Parquet": ("data.parquet", bytes(range(256)), (), ("not a Parquet file", "fetch it again")),
    "a spreadsheet": ("data.csv", b"PK\x03\x04\x14\0", (), ("line 1: it is a zip archive", "save it as CSV UTF-8")),
    "an unknown ending": (
        "data.xlsx",
        b"PK\x03\x04\x14\0",
        (),
        ("not .xlsx", "save it as CSV UTF-8 in the spreadsheet program"),
    ),
    "another encoding": ("data.csv", (CSV + "né,x\n").encode("cp1252"), (), ("line 22: not UTF-8", "--encoding")),
    "unknown encoding": ("data.csv", CSV, ("--encoding", "cp9999"), ("--encoding cp9999", "cp1252")),
}
NAMELESS = {"weights of numbers", "unknown encoding"}  # faults of options


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.usefixtures("clean_environment")
def test_bad_training_data_is_reported_in_one_line(tmp_path: Path, fault: str) -> None:
    """Code 2, the file, the place in it and the remedy, and no output folder."""
    name, content, options, expected = FAULTS[fault]
    path = tmp_path / "data" / name
    path.parent.mkdir()
    if content is not None:
        raw = content(tmp_path) if callable(content) else content
        path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    result = adakron_train("--train", str(path), "--output", str(tmp_path / "run"), *options)
    told(result, *expected, *([] if fault in NAMELESS else [name]))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("dev.csv", "text,label\nabc,x\nabd,z\n", ("dev.csv, line 3: label 'z' never occurs", "correct it")),
        ("dev.csv", "sentence,label\nabc,x\n", ("dev.csv: no column 'text'", "rename its columns as there")),
        ("dev.csv", "text,label\n", ("dev.csv: it has no rows", "write them below")),
        ("dev.csv", 'text,label\n"abc,x', ("dev.csv, line 2: an opening quote", "close it")),
        ("dev.jsonl", '{"text": "a", "label": null}', ("dev.jsonl, line 1: the label is missing", "fill it in")),
    ],
)
@pytest.mark.usefixtures("clean_environment")
def test_bad_validation_data_is_reported_in_one_line(
    tmp_path: Path, name: str, content: str, expected: tuple[str, ...]
) -> None:
    """The error line names the validation file."""
    (tmp_path / "train.csv").write_text(CSV)
    (tmp_path / name).write_text(content)
    files = ("--train", str(tmp_path / "train.csv"), "--validation", str(tmp_path / name))
    told(adakron_train(*files, "--output", str(tmp_path / "run")), *expected)
    assert not (tmp_path / "run").exists()


def test_a_folder_is_no_data_file(tmp_path: Path) -> None:
    """It says what to name."""
    (tmp_path / "data.csv").mkdir()
    output = tmp_path / "run"
    result = adakron_train("--train", str(tmp_path / "data.csv"), "--output", str(output))
    told(result, "data.csv: a folder", "name the file in it")
    assert not output.exists()


@pytest.fixture
def arguments(tmp_path: Path, tiny_folder: Path) -> tuple[str, ...]:
    """A training of one second, into the folder `run`."""
    (tmp_path / "data.csv").write_text(CSV)
    paths = ("--train", str(tmp_path / "data.csv"), "--output", str(tmp_path / "run"), "--backbone", str(tiny_folder))
    return (*paths, "--epochs", "2", "--max-length", "16", "--device", "cpu")


def test_an_output_folder_that_is_a_file(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """The file stays as it is."""
    (tmp_path / "run").write_text("mine")
    told(adakron_train(*arguments), "run cannot be written: File exists", "name another --output")
    assert (tmp_path / "run").read_text() == "mine"


def test_an_output_folder_that_may_not_be_written(
    tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told before training; nothing is in it."""
    with monkeypatch.context() as patch:
        patch.setattr("service.train.fit.output_folder.tempfile.TemporaryFile", refuse(errno.EACCES))
        told(adakron_train(*arguments), "run cannot be written: Permission denied", "name another --output")
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' /dev/full")
def test_a_disk_that_is_full_from_the_start(
    tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told before training, too."""

    def open_full(**_: Any) -> Any:
        return Path("/dev/full").open("wb")

    monkeypatch.setattr("service.train.fit.output_folder.tempfile.TemporaryFile", open_full)
    told(adakron_train(*arguments), "run cannot be written: No space left on device", "name another --output")
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("service.train.fit.output_folder.os.fsync", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
        (
            "transformers.trainer.torch.save",
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected"),
        ),
        ("transformers.trainer.safetensors.torch.save_file", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    ],
)
def test_a_full_disk_leaves_no_adapter(
    tmp_path: Path,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    error: Exception,
) -> None:
    """Neither a part of a file; when there is room again, --resume ends the training."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(function, fail)
        result = adakron_train(*arguments, "--no-cross-validate")
    remedy = "free some space, then run the same command with --resume"
    message = told(result, "run cannot be written: ", remedy, last=True)
    assert message.count("cannot be written") == 1
    assert not [path for path in (tmp_path / "run").iterdir() if "adapter.safetensors" in path.name]
    resumed = adakron_train(*arguments, "--no-cross-validate", "--resume")
    assert resumed.exit_code == 0, resumed.output
    checkpoint.parse((tmp_path / "run" / "adapter.safetensors").read_bytes())


def refuse(number: int) -> Callable[..., Any]:
    """A function that the operating system refuses."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def told(result: Result, *parts: str, last: bool = False) -> str:
    """The one line that the failed command says; it has all `parts`. `last`: others stand before it."""
    assert result.exit_code == 2, result.output
    said = result.stderr.splitlines()
    assert last or len(said) == 1, said
    assert said[-1].startswith("error: ")
    for part in parts:
        assert part in said[-1]
    assert "Traceback" not in result.output
    return said[-1]
