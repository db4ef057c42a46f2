"""Files of other programs that were once misread, or refused with advice that did not help."""

import decimal
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from service.train.data.reading.files import read_file
from tests.support.training_data import complaint, load, write

ROWS = "".join(f"text {i},{'xy'[i % 2]}\n" for i in range(8))
OBJECTS = [{"text": f"text {i}", "label": "xy"[i % 2]} for i in range(8)]


def test_a_mark_counts_more_than_the_named_encoding(tmp_path: Path) -> None:
    """--encoding is for both files, and one of them may be UTF-8 with a mark."""
    path = tmp_path / "a.csv"
    path.write_bytes("\ufefftext,label\ncafé,x\n".encode())
    table = read_file(path, "cp1252")
    assert (table.columns, table.records[0][1]["text"], table.notes) == (("text", "label"), "café", ())


@pytest.mark.parametrize(("codec", "doubted"), [("utf-8", True), ("cp1252", False), ("utf-16-le", False)])
def test_utf_8_that_is_read_as_another_encoding_is_reported(tmp_path: Path, codec: str, doubted: bool) -> None:
    """Accents of the one file would become other characters without a word."""
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\ncafé,x\n".encode(codec))
    notes = read_file(path, codec if codec != "utf-8" else "cp1252").notes
    assert [note for note in notes if "it looks like UTF-8" in note] == list(notes)
    assert bool(notes) == doubted


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "\n".join(map(json.dumps, OBJECTS)),
            "line 1: the content is JSON, not a table; rename the file to .jsonl or .json",
        ),
        (
            "a.txt",
            json.dumps(OBJECTS, indent=1),
            "line 1: the content is JSON, not a table; rename the file to .jsonl or .json",
        ),
        ("a.jsonl", "text,label\n" + ROWS, "not JSON (Expecting value); rename it to .csv or .tsv if it is a table"),
        ("a.txt", "| text | label |\n|---|---|\n| a | x |\n", "line 2: a rule of dashes, not a row; remove the line"),
        ("a.txt", "text|label\n----+-----\na|x\n", "line 2: a rule of dashes, not a row; remove the line"),
        ("a.csv", "Export of May,,\n,,\ntext,label,\n" + ROWS, "the header is the one field 'Export of May'; write"),
        (
            "a.csv",
            "# by me\ntext,label\n" + ROWS,
            "write commas or tabs between the names of its columns, and leave nothing",
        ),
    ],
)
def test_what_is_under_the_wrong_ending_or_header(tmp_path: Path, name: str, content: str, message: str) -> None:
    """It is named for what it is."""
    assert message in complaint(write(tmp_path / name, content))


@pytest.mark.parametrize("quoted", [True, False])
def test_formulas_that_keep_numbers_as_texts(tmp_path: Path, quoted: bool) -> None:
    """Reports for Excel write ="038.9", and no class is called so."""
    labels = ('"=""038.9"""', '"=""38.9"""') if quoted else ('="038.9"', '="38.9"')
    data = load(write(tmp_path / "a.csv", "text,label\n" + "".join(f"text {i},{labels[i % 2]}\n" for i in range(8))))
    assert data.scheme.names == ("038.9", "38.9")
    assert "a.csv: formulas such as =" in data.warnings[0]


@pytest.mark.parametrize(
    "document",
    [
        {"response": {"docs": OBJECTS}},
        {"took": 3, "hits": {"total": {"value": 8}, "hits": OBJECTS}},
        {"rasa_nlu_data": {"common_examples": OBJECTS}},
        {"a": {"b": {"data": OBJECTS}}},
    ],
)
def test_rows_deep_in_a_document(tmp_path: Path, document: object) -> None:
    """If there is one list of objects, it holds the rows, and a note says where it was found."""
    data = load(write(tmp_path / "a.json", json.dumps(document)))
    assert len(data.train) + len(data.validation) == 8
    assert "the rows are those under" in data.warnings[0]


def test_a_mistyped_field_is_no_empty_text(tmp_path: Path) -> None:
    """A field that no row has is a wrong name, and the right ones are listed."""
    file = write(tmp_path / "a.jsonl", [{"text": {"body": "a"}, "label": "x"}, {"text": {"body": "b"}, "label": "y"}])
    message = complaint(file, text_column="text.bdy")
    assert message == "a.jsonl: no column 'text.bdy' (--text-column); it has text.body, label"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the name of a data file is empty; is a shell variable unset?"),
        ("https://example.org/a.csv", "https://example.org/a.csv: URLs are not read; download the file"),
        ("s3://bucket/a.csv", "s3://bucket/a.csv: URLs are not read; download the file"),
    ],
)
def test_what_is_no_name_of_a_file(name: str, message: str) -> None:
    """It is not taken for a path, or for the folder of the process."""
    assert complaint(name).startswith(message)


def test_numbers_of_parquet_are_those_of_csv(tmp_path: Path) -> None:
    """float32 has the digits that it is written with, and decimals keep their zeros."""
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(8)]})
    for values, names in (
        (np.array([1.1, 1.25] * 4, dtype="float32"), ("1.1", "1.25")),
        ([decimal.Decimal("1.10"), decimal.Decimal("1.25")] * 4, ("1.10", "1.25")),
    ):
        frame.assign(label=values).to_parquet(tmp_path / "a.parquet")
        frame.assign(label=values).to_csv(tmp_path / "a.csv", index=False)
        for ending in ("parquet", "csv"):
            assert load(str(tmp_path / f"a.{ending}"), type="single_label").scheme.names == names


def test_bytes_are_no_text(tmp_path: Path) -> None:
    """The remedy is one that a Parquet file can have."""
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": [b"a", b"b"], "label": ["x", "y"]}).to_parquet(path)
    assert "row 1: text is bytes, not a text; decode them" in complaint(str(path))


def test_columns_of_flags_are_the_reason(tmp_path: Path) -> None:
    """The type is explained by what the file has."""
    rows = "".join(f"text {i},{i % 2},{i // 2 % 2}\n" for i in range(8))
    data = load(write(tmp_path / "a.csv", "text,a,b\n" + rows), label_columns=("a", "b"))
    assert data.because == "each label has a column of 0 and 1"


def test_two_encodings_in_one_file_are_reported(tmp_path: Path) -> None:
    """The advice is not an encoding by which the other lines would be misread; which is doubted, too."""
    file = write(tmp_path / "a.csv", "text,label\ncafé,x\nnoël,y\n".encode() + "naïve,x\n".encode("cp1252"))
    assert "line 4: not UTF-8; the lines above are UTF-8, so files of two encodings were joined" in complaint(file)
    assert "it looks like UTF-8" in read_file(Path(file), "cp1252").notes[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", 'text,label\n"say \\"hi\\" {}",x\n', 'write a quote in a quoted field twice, not as \\"'),
        ("a.tsv", '"text"\t"label"\n"1"\t"say \\"hi\\""\t"x"\n', "write it without row names (in R: row.names"),
    ],
)
def test_backslashes_before_quotes(tmp_path: Path, name: str, content: str, message: str) -> None:
    """Files as Spark, MySQL and R write them by default are read."""
    assert message in complaint(write(tmp_path / name, content))


def test_joined_files_with_marks(tmp_path: Path) -> None:
    """The header of the second file is found behind its mark, and a mark before a row is no part of its text."""
    half = "\ufefftext,label\n" + ROWS
    assert "line 10: the header is repeated; remove the line" in complaint(write(tmp_path / "a.csv", half + half))
    table = read_file(Path(write(tmp_path / "a.csv", half + "\ufefflast,x\n")))
    assert table.records[-1][1]["text"] == "last"
