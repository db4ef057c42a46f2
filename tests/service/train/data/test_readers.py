"""Files of every format give the same table, and each error names the line."""

import csv
import gzip
import io
import json
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from service.train.data.reading.files import read_file
from tests.support.training_data import complaint, load, write

RECORDS = [
    ("plain", "x"),
    ("one, two; three", "y"),
    ('she said "no"', "x"),
    ("two\nlines", "y"),
    ("Grüße, 東京 🙂", "x"),
    ("|bars| and 'quotes'", "y"),
    ("  spaces  ", "x"),
    ("a" * 200_000, "y"),  # longer than the csv module takes by default
]
HEADER = ("text", "label")


def delimited(delimiter: str, line_end: str = "\n", quoting: int = csv.QUOTE_MINIMAL, first: str = "") -> str:
    """RECORDS as Python's csv module writes them."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows([HEADER, *RECORDS])  # type: ignore[arg-type]
    return first + file.getvalue()


def objects() -> list[dict[str, str]]:
    """RECORDS by name."""
    return [dict(zip(HEADER, record, strict=True)) for record in RECORDS]


def parquet() -> bytes:
    """RECORDS as Parquet."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(objects()), file)
    return file.getvalue()


COLUMNS = {name: [record[name] for record in objects()] for name in HEADER}
BY_ROW = {str(row): record for row, record in enumerate(objects())}
FORMS: dict[str, str | bytes] = {
    "a.csv": delimited(","),
    "all-quoted.csv": delimited(",", "\r\n", csv.QUOTE_ALL),
    "old-mac.csv": delimited(",", "\r", csv.QUOTE_ALL),
    "converted-twice.csv": delimited(",", "\r\r\n"),
    "semicolons.csv": delimited(";", "\r\n"),
    "tabs.csv": delimited("\t"),
    "bars.csv": delimited("|"),
    "excels-line.csv": delimited(";", "\r\n", first="sep=;\r\n"),
    "excels-line-quoted.csv": delimited("\t", first='"sep=\t"\n'),
    "marked.csv": delimited(",").encode("utf-8-sig"),
    "a.tsv": delimited("\t"),
    "all-quoted.tsv": delimited("\t", "\r\n", csv.QUOTE_ALL),
    "old-mac.tsv": delimited("\t", "\r", csv.QUOTE_ALL),
    "a.tab": delimited("\t"),
    "commas.tsv": delimited(","),
    "a.txt": delimited("\t"),
    "unicode-text.txt": delimited("\t", "\r\n").encode("utf-16"),
    "semicolons.txt": delimited(";"),
    "a.jsonl": "".join(json.dumps(record) + "\n" for record in objects()),
    "old-mac.jsonl": "".join(json.dumps(record, ensure_ascii=False) + "\r" for record in objects()),
    "a.ndjson": "\n\n".join(json.dumps(record, ensure_ascii=False) for record in objects()),
    "printed-by-jq.jsonl": "\n".join(json.dumps(record, indent=2) for record in objects()),
    "a.json": json.dumps(objects()),
    "wrapped.json": json.dumps({"data": objects()}),
    "wrapped-with-more.json": json.dumps({"version": "1.1", "utterances": objects(), "count": len(RECORDS)}),
    "pandas-columns.json": json.dumps({name: dict(enumerate(values)) for name, values in COLUMNS.items()}),
    "pandas-index.json": json.dumps(BY_ROW),
    "pandas-split.json": json.dumps({"columns": HEADER, "index": list(range(8)), "data": RECORDS}),
    "pandas-table.json": json.dumps({"schema": {"fields": []}, "data": [{"index": 0, **row} for row in objects()]}),
    "pandas-dict.json": json.dumps(COLUMNS),
    "a.parquet": parquet(),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", FORMS)
def test_every_format_gives_the_same(tmp_path: Path, name: str, packed: bool) -> None:
    """Texts and labels with separators, quotes, line breaks and 200,000 characters, from every format and dialect."""
    content = FORMS[name]
    raw = content.encode() if isinstance(content, str) else content
    file = write(tmp_path / (name + ".gz" * packed), gzip.compress(raw, 1) if packed else raw)
    data = load(file, file)
    assert data.train.inputs == [text for text, _ in RECORDS]
    assert data.scheme.names == ("x", "y")
    assert data.train.targets == [0, 1] * 4


def test_parquet_is_read_with_its_class_names(tmp_path: Path) -> None:
    """A Parquet file that `datasets` wrote brings its class names; an overwritten file is read again."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    path = tmp_path / "a.parquet"
    for text in ("first", "second"):
        rows = {"text": [text, "b", "c"], "label": [1, 0, 1]}
        Dataset.from_dict(rows, features=features).to_parquet(str(path))
        data = load(str(path), str(path))
        assert data.train.inputs == [text, "b", "c"]
        assert (data.scheme.names, data.train.targets) == (("no", "yes"), [1, 0, 1])


def test_an_edited_file_is_read_anew(tmp_path: Path) -> None:
    """Nothing is cached between two trainings."""
    for label in ("good", "fine"):
        file = write(tmp_path / "a.csv", f"text,label\nabc,{label}\nabd,bad\n")
        assert label in load(file, file).scheme.names


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "", "a.csv: the file is empty"),
        ("a.csv", "text,label\n", "a.csv: it has no rows"),
        ("a.jsonl", "\n \n", "a.jsonl: the file is empty"),
        (
            "a.doc",
            "text,label\n",
            "the ending must be one of .csv, .tsv, .tab, .txt, .json, .jsonl, .ndjson, .parquet, not .doc",
        ),
        (
            "a.csv",
            "foo,bar\na,b\n",
            "no text column (sentence, text, content, review, sentence1 + sentence2 ...); it has foo, bar",
        ),
        (
            "a.csv",
            "text,bar\na,b\n",
            "no label column (label, labels, class, category, score, target); it has text, bar",
        ),
        ("a.csv", 'text,label\na,x\n"b\nb",y\n , x\n', "a.csv, line 5: text is empty"),
        ("a.csv", "text,label\na,x\nb,\n", "a.csv, line 3: the label is missing"),
        ("a.csv", "text,label\na,x\nb,x\n", "only the label 'x' in column label"),
        ("a.csv", "text,label\na,x\nb,y,z\n", "a.csv, line 3: 3 fields, but the header has 2"),
        ("a.csv", "text,label\na,x\nb\n", "a.csv, line 3: 1 field, but the header has 2"),
        ("a.csv", 'text,label\na,x\n"b and so on', "a.csv, line 3: an opening quote without its closing one"),
        ("a.csv", b"text,label\na,x\nb\xe9,y\n", "a.csv, line 3: not UTF-8"),
        ("a.tsv", "text\tlabel\na\tx\nb\n", "a.tsv, line 3: 1 field, but the header has 2"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "la', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n["b"]\n', "a.jsonl, line 2: not an object"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"label": "y"}\n', "a.jsonl, line 2: text is empty"),
        (
            "a.jsonl",
            '{"text": "a", "label": "x"}\n{"text": 7, "label": "y"}\n',
            "a.jsonl, line 2: text is not a text but",
        ),
        (
            "a.jsonl",
            '{"text": "a", "label": "x"}\n{"text": "\\ud800", "label": "y"}\n',
            "a.jsonl, line 2: text has half",
        ),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": {}}\n', "line 2: the label is an object"),
        ("a.json", '[{"text": "a", "label": "x"},\n\n{"text": "b"', "a.json, line 3: the JSON is cut"),
        ("a.json", '[{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}]', "a.json, line 2: the JSON is cut"),
        ("a.parquet", b"PAR1 and nothing more", "a.parquet: not a Parquet file, or it was cut"),
        ("a.jsonl", '{"text": "a", "label": 1.5}\n{"text": "b", "label": 1.5}\n', "every label is 1.5"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, name: str, content: str | bytes, expected: str) -> None:
    """The error about a data file has one line, with the file, the line in it, and the fault."""
    file = write(tmp_path / name, content)
    assert expected in complaint(file, file)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json"])
def test_the_time_grows_with_the_size(tmp_path: Path, ending: str) -> None:
    """40,000 rows of 200 characters, quotes included, take under 8 s of CPU time: no row costs the whole file."""
    rows = [(f'"{number}" {"abc " * 48}', "xy"[number % 2]) for number in range(40_000)]
    path = tmp_path / f"a.{ending}"
    with path.open("w", newline="") as file:
        if ending in ("csv", "tsv"):
            csv.writer(file, delimiter="," if ending == "csv" else "\t").writerows([HEADER, *rows])
        else:
            lines = [json.dumps(dict(zip(HEADER, row, strict=True))) for row in rows]
            file.write("\n".join(lines) if ending == "jsonl" else f"[{','.join(lines)}]")
    before = time.thread_time()
    assert len(read_file(path).records) == len(rows)
    assert time.thread_time() - before < 8
