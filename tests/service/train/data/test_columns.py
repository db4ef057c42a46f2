"""Columns are found by their usual names, in any case, and nested fields by their path."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.support.training_data import complaint, load, write


@pytest.mark.parametrize("name", ["Text,Label", "TEXT,LABEL", "tExT,lAbEl"])
def test_names_of_columns_in_capitals(tmp_path: Path, name: str) -> None:
    """They are recognised, can be named in any case, and validation data may spell them otherwise."""
    train = write(tmp_path / "train.csv", f"{name}\na,x\nb,y\n")
    dev = write(tmp_path / "dev.csv", "text,label\na,x\nb,y\n")
    for columns in ({}, {"text_column": "text", "label_column": "LABEL"}):
        data = load(train, dev, **columns)
        assert data.train.inputs == data.validation.inputs == ["a", "b"]


def test_names_that_differ_in_capitals_alone(tmp_path: Path) -> None:
    """Between them the caller chooses, by the exact name."""
    file = write(tmp_path / "a.csv", "Text,text,label\na,b,x\nc,d,y\n")
    assert "columns Text, text differ only in case; name one with --text-column" in complaint(file)
    assert load(file, file, text_column="text").train.inputs == ["b", "d"]


def test_a_choice_between_known_names_is_reported(tmp_path: Path) -> None:
    """If several columns may hold the text or the label, one is read, and a note names the others."""
    file = write(tmp_path / "a.csv", "text,sentence,label,score\na,b,x,1\nc,d,y,2\n")
    notes = load(file, file).warnings
    assert "a.csv: column sentence is read, not text; --text-column names another" in notes
    assert "a.csv: column label is read, not score; --label-column names another" in notes


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_nested_fields(tmp_path: Path, ending: str) -> None:
    """--text-column text.body reads the field of an object, or an item of a list; in validation data, too."""
    rows = [{"text": {"body": f"body {n}", "all": [f"first {n}"]}, "meta": {"label": "xy"[n % 2]}} for n in range(4)]
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text(json.dumps(rows) if ending == "json" else "\n".join(map(json.dumps, rows)))
    data = load(str(path), str(path), text_column="text.body", label_column="meta.label")
    assert data.train.inputs == data.validation.inputs == [f"body {n}" for n in range(4)]
    assert data.scheme.names == ("x", "y")
    items = load(str(path), str(path), text_column="text.all.0", label_column="meta.label")
    assert items.train.inputs == [f"first {n}" for n in range(4)]
    said = complaint(str(path))
    assert "no label column" in said
    assert "it has text.body, text.all, meta.label" in said
    said = complaint(str(path), label_column="meta.label")
    assert (
        "1: text is an object, not a text; name the field in it with --text-column or --pair-column: text.body" in said
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": {"other": "a"}, "label": "y"}, "a.jsonl, line 2: text.body is empty"),
        ({"text": "plain", "label": "y"}, "a.jsonl, line 2: text is 'plain', which has no field 'body'"),
        ({"text": None, "label": "y"}, "a.jsonl, line 2: text.body is empty"),
    ],
)
def test_faults_of_nested_fields(tmp_path: Path, row: object, message: str) -> None:
    """The row and the part that is missing are named."""
    file = write(tmp_path / "a.jsonl", [{"text": {"body": "a"}, "label": "x"}, row])  # type: ignore[list-item]
    assert message in complaint(file, text_column="text.body")
