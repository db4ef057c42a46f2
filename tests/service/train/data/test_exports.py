"""Files as other programs export them: read rightly, with a note where something was guessed."""

import csv
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.train.data.reading.files import read_file
from service.train.data.table import Table
from tests.support.training_data import complaint, load, write

TEXTS = ('said "no"', '"Hello," she said', "two words")
FRAME = pd.DataFrame({"text": ["a, b", 'c "d"', "e\nf"], "label": ["x", "y", "x"]})
EXPORTS: dict[str, str | bytes] = {
    # Excel quotes what holds a quote, a separator or a line break
    "excel.csv": '\ufefftext;label\r\n"said ""no""";x\r\n"""Hello,"" she said";y\r\ntwo words;x\r\n',
    "spare-columns.csv": 'text,label,,\r\n"said ""no""",x,,\r\n"""Hello,"" she said",y,,\r\n,,,\r\ntwo words,x,,\r\n',
    "excel-unicode.txt": (
        '\ufefftext\tlabel\r\n"said ""no"""\tx\r\n"""Hello,"" she said"\ty\r\ntwo words\tx\r\n'
    ).encode("utf-16-le"),
    "r.csv": '"","text","label"\n"1","said ""no""","x"\n"2","""Hello,"" she said","y"\n"3","two words","x"\n',
    # Google Sheets puts no quotes into TSV, and neither do the authors of GLUE
    "sheets.tsv": 'text\tlabel\r\nsaid "no"\tx\r\n"Hello," she said\ty\r\ntwo words\tx',
    "spaces.csv": 'text, label\n"said ""no""", "x"\n"""Hello,"" she said", "y"\n"two words", "x"\n',
    "some-rows-longer.csv": 'text,label\nsaid "no",x,,\n"""Hello,"" she said",y\ntwo words,x,\n',
}


def texts(table: Table) -> list[str]:
    """The column `text`."""
    return [record["text"] for _, record in table.records]


@pytest.mark.parametrize("name", EXPORTS)
def test_exports_by_hand(tmp_path: Path, name: str) -> None:
    """Spreadsheets, R and TSV without quoting; empty columns, empty rows and row names are no data."""
    content = EXPORTS[name]
    table = read_file(Path(write(tmp_path / name, content)))
    assert table.columns == ("text", "label")
    assert texts(table) == list(TEXTS)
    assert [record["label"] for _, record in table.records] == ["x", "y", "x"]
    assert all(set(record) == {"text", "label"} for _, record in table.records)


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table", "lines"])
def test_every_json_of_pandas(tmp_path: Path, orient: str) -> None:
    """`to_json` in each form that has names."""
    path = tmp_path / "a.json"
    if orient == "lines":
        FRAME.to_json(path, orient="records", lines=True)
    else:
        FRAME.to_json(path, orient=orient)  # type: ignore[call-overload]
    assert texts(read_file(path)) == FRAME["text"].tolist()


def test_json_of_pandas_without_names(tmp_path: Path) -> None:
    """The form `values` has no columns: one line says what a row is."""
    FRAME.to_json(tmp_path / "a.json", orient="values")
    assert complaint(str(tmp_path / "a.json")).startswith("a.json, line 1: not an object; write {")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("index", [True, False])
def test_every_csv_of_pandas(tmp_path: Path, separator: str, index: bool) -> None:
    """`to_csv` with any separator, with its index or without."""
    FRAME.to_csv(tmp_path / "a.csv", sep=separator, index=index)
    table = read_file(tmp_path / "a.csv")
    assert texts(table) == FRAME["text"].tolist()
    assert table.columns == ("text", "label")


def test_parquet_of_pandas_with_categories(tmp_path: Path) -> None:
    """A column of categories holds texts."""
    FRAME.astype({"label": "category"}).to_parquet(tmp_path / "a.parquet")
    assert load(str(tmp_path / "a.parquet"), str(tmp_path / "a.parquet")).scheme.names == ("x", "y")


@pytest.mark.parametrize("ending", ["tsv", "csv", "txt"])
def test_quotes_between_tabs(tmp_path: Path, ending: str) -> None:
    r"""They enclose fields where each fits; otherwise all are text, which a note says, and so they are where they
    seem to fit over several lines although every line has its fields.
    """
    cases = {
        '"a"\tx\n"b ""c"""\ty\n': (["a", 'b "c"'], False),
        '"a\nb"\tx\n"c\td"\ty\n': (["a\nb", "c\td"], False),
        '"a\tx\nb" said\ty\n': (['"a', 'b" said'], True),
        '"a" b\tx\n"c"\ty\n': (['"a" b', '"c"'], True),
        '"a\tx\nb"\ty\n': (['"a', 'b"'], True),
        '"a\tx\nb"\ty\n"c ""d"""\tx\n': (["a\tx\nb", 'c "d"'], False),
        'a "b"\tx\n5" c\ty\n': (['a "b"', '5" c'], False),
    }
    for content, (expected, noted) in cases.items():
        table = read_file(Path(write(tmp_path / f"a.{ending}", "text\tlabel\n" + content)))
        assert texts(table) == expected, content
        assert any("quotes are read as part of the text" in note for note in table.notes) == noted, content
    quoted = write(tmp_path / f"a.{ending}", '"text"\t"label"\n"a\tx\nb"\t"y"\n')
    assert texts(read_file(Path(quoted))) == ["a\tx\nb"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('"a\nb"\tx\nc\n', "line 4: 1 field, but the header has 2"),
        ('"a\nb"\tx\n"c', "line 4: an opening quote without its closing one"),
        ('"a" b\tx\nc\n', "line 3: 1 field, but the header has 2"),
    ],
)
def test_faults_between_tabs(tmp_path: Path, content: str, message: str) -> None:
    """The line is that of the reading that goes further: with quotes that enclose, or without."""
    assert message in complaint(write(tmp_path / "a.tsv", "text\tlabel\n" + content))


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("text;label, main\na, b, c;x\nd;y\n", ("text", "label, main")),
        ("text;score, 0 to 1\na;0,5\nb;0,7\n", ("text", "score, 0 to 1")),
        ("text\tlabel\na, b\tx\nc; d\ty\n", ("text", "label")),
        ("text|label\na, b|x\nc; d|y\n", ("text", "label")),
        ("text,label;sub\na;b,x\nc,y\n", ("text", "label;sub")),
        ("SEP=|\ntext, a;b|label\na|x\n", ("text, a;b", "label")),
        ('"text, all";"label"\n"a; b";"x"\n', ("text, all", "label")),
    ],
)
def test_all_lines_decide_the_delimiter(tmp_path: Path, content: str, columns: tuple[str, ...]) -> None:
    """Not by the header alone; of two that fit, the one that finds known names."""
    assert read_file(Path(write(tmp_path / "a.csv", content))).columns == columns


def test_a_guessed_delimiter_is_reported(tmp_path: Path) -> None:
    """A note says that the delimiter is not that of the ending, or that two delimiters fit."""
    file = write(tmp_path / "a.csv", "text;label\na;x\nb;y\n")
    notes = load(write(tmp_path / "plain.csv", "text,label\na,x\nb,y\n"), file).warnings
    assert list(notes).count("a.csv: read with semicolons between the fields, as in its lines") == 1
    notes = load(file, file).warnings
    assert "a.csv: read with semicolons between the fields, as in its lines" in notes
    notes = load(write(tmp_path / "a.csv", "text,la;bel,label\na,;,x\nb,;,y\n"), file).warnings
    assert any("semicolons could separate its fields, too; commas are used" in note for note in notes)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (
            "text,label,",
            " a, b,x",
            "line 2: 'x' is in column 3, which has no name in the header; name it, or quote",
        ),
        ("text,label", "text,label", "line 2: the header is repeated; remove the line"),
        ("text,label,text", "a,x,b", "line 1: column 'text' occurs twice, as 1 and 3; rename one"),
        ("text,label", '"a" b,x', "line 2: quotes that do not enclose a field"),
        ("text,label", '"a\nb\nc",x\nd,y,z', "line 5: 3 fields, but the header has 2"),
        ("text,label", '"a\r\nb\rc",x\nd,y,z', "line 5: 3 fields, but the header has 2"),
        ("text,label", "a,\\N", "line 2: the label is missing"),
        ("sep=;\ntext;label", '"a\nb";x\nd', "line 5: 1 field, but the header has 2"),
        ("text label", "a x", "line 1: the header is the one field 'text label'; write commas or tabs between"),
        ("text,label", "1,a,x", "line 2: 3 fields, but the header has 2; write it without row names (in R: row.names"),
        ("sep=;", "", "line 1: there is nothing below it"),
        ("good film,x", "bad film,x", "line 1 looks like a row, write a header such as text,label above it"),
        ("\x1b[31mred,x", "a,x", r"it has '\x1b[31mred', x"),
        ("t" * 500 + ",label", "a,x", "it has 'tttttttttttttttttttttttttttttttttttttttt'..., label"),
        (",".join(f"column{number}" for number in range(99)), ",".join("a" * 99), "column11 and 87 more"),
    ],
)
def test_faults_of_rows_and_headers(tmp_path: Path, header: str, row: str, message: str) -> None:
    """One printable line with the line on which the record begins; long names are cut."""
    said = complaint(write(tmp_path / "a.csv", f"{header}\n{row}\n"))
    assert message in said
    assert said.isprintable()
    assert len(said) < 500


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "text": "b", "label": "x"}\n', "line 1: not JSON (the key 'text' occurs twice)"),
        ('{"text": "a",\n "label": "x"}\n{"text": "b",\n', "line 3: not JSON"),
        ('{"data": []}', "it has no rows"),
        ('{"data": {"a": 1}}', "no text column"),
        ('{"data": ["a", "b"]}', "no text column"),
        (
            '{"text": ["a", "b"], "label": "x"}\n{"text": "a", "label": "y"}',
            "line 1: text is a list, not a text; join it, or name an item with",
        ),
    ],
)
def test_faults_of_json(tmp_path: Path, content: str, message: str) -> None:
    """A key twice, rows over several lines, wrappers without rows."""
    assert message in complaint(
        write(tmp_path / "a.json", content), label_column="label" if "label" in content else None
    )


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a.xlsx", b"PK\x03\x04", "not .xlsx; save it as CSV UTF-8 in the spreadsheet program"),
        ("a.ods", b"PK\x03\x04", "not .ods; save it as CSV UTF-8 in the spreadsheet program"),
        ("a.xls", b"\xd0\xcf\x11\xe0", "not .xls; save it as CSV UTF-8 in the spreadsheet program"),
        ("a.csv", b"\xd0\xcf\x11\xe0", "an old spreadsheet or document, not text; save it as CSV UTF-8"),
        ("a.zip", b"PK\x03\x04", "not .zip; unpack it first"),
        ("a.csv", b"<!DOCTYPE html><html>", "a web page, not text; download the file itself"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS, not text; fetch the file"),
    ],
)
def test_what_is_no_data_file(tmp_path: Path, name: str, raw: bytes, message: str) -> None:
    """It is named for what it is, with the remedy."""
    assert message in complaint(write(tmp_path / name, raw))


CHARACTERS = st.sampled_from("ab ,;|\"\n'\\{}[]:=é🙂")


@settings(deadline=None)  # the first example pays for imports
@given(
    rows=st.lists(
        st.tuples(st.text(CHARACTERS, min_size=1, max_size=12), st.sampled_from("xyz")), min_size=1, max_size=5
    ),
    delimiter=st.sampled_from(",;|\t"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["csv", "tsv", "txt"]),
)
def test_what_the_csv_module_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    delimiter: str,
    line_end: str,
    quoting: Literal[0, 1],
    ending: str,
) -> None:
    """Any text without tabs, under any ending, in any dialect."""
    path = tmp_path_factory.mktemp("any") / f"a.{ending}"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
        writer.writerows([("text", "label"), *rows])
    table = read_file(path)
    assert [(record["text"], record["label"]) for _, record in table.records] == rows
