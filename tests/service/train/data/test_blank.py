"""Texts and labels without a visible character are empty; the error names their line."""

import json
from pathlib import Path

import pytest

from service.train.errors import DataError
from tests.support.training_data import load

BLANK = ["", " ", "\t\n", "\u200b\u200b", "\u00ad", "\ufeff \u200d", "\x07\x1b", "\u2800", "\u3164", "\u0301"]


def complaint(path: Path, rows: list[dict[str, object]]) -> str:
    """The error that the data give."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError) as caught:
        load(str(path), str(path))
    return str(caught.value)


@pytest.mark.parametrize("text", BLANK)
def test_a_blank_text_is_empty(tmp_path: Path, text: str) -> None:
    """A text of zero-width, soft-hyphen or control characters is refused, alone or as one of a pair."""
    rows: list[dict[str, object]] = [{"text": "a", "label": "x"}, {"text": text, "label": "y"}]
    invisible = ", it holds only characters that do not show" if text.strip() else ""
    message = f"is empty{invisible}; remove the row, or fill it in"
    assert complaint(tmp_path / "a.jsonl", rows) == f"a.jsonl, line 2: text {message}"
    pairs = [{"text_a": "a", "text_b": row["text"], "label": row["label"]} for row in rows]
    assert complaint(tmp_path / "b.jsonl", pairs) == f"b.jsonl, line 2: text_b {message}"


@pytest.mark.parametrize("label", [*BLANK, None, float("nan")])
def test_a_blank_label_is_missing(tmp_path: Path, label: object) -> None:
    """A label of nothing to see is no class, in a list neither."""
    rows: list[dict[str, object]] = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    invisible = isinstance(label, str) and label.strip()
    message = f"label {label!r} has no visible character; write" if invisible else "the label is missing; remove the"
    assert f"line 3: {message}" in complaint(tmp_path / "a.jsonl", [*rows, {"text": "c", "label": label}])
    lists = [{"text": "a", "labels": ["x"]}, {"text": "b", "labels": ["y", label]}]
    assert f"line 2: {message}" in complaint(tmp_path / "b.jsonl", lists)
