"""Names of classes as people write them: brackets, joiners, spaces that do not break."""

import json
from pathlib import Path

import pytest

from service.train.data.load import TaskData
from service.train.errors import DataError
from tests.support.training_data import load as load_file


def load(path: Path, labels: list[str], **changes: object) -> TaskData:
    """Load JSON Lines with these labels, once each with two texts."""
    rows = [{"text": f"text {number} of {label}", "label": label} for label in labels for number in range(2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_file(str(path), str(path), **changes)


@pytest.mark.parametrize("labels", [["[BUG]", "[FEATURE]"], ["[BUG]", "QUESTION"], ["[BUG, UI]", "[UI]"]])
def test_a_name_in_brackets_is_no_list(tmp_path: Path, labels: list[str]) -> None:
    """It is read as one name, and a warning says how a list is written."""
    data = load(tmp_path / "a.jsonl", labels)
    assert (data.scheme.type, set(data.scheme.names)) == ("single_label", set(labels))
    assert any("is read as one name, brackets included; write [" in warning for warning in data.warnings)


def test_a_printed_list_is_a_list(tmp_path: Path) -> None:
    """Lists as Python and JSON print them still make a multi-label task."""
    for label in ("['b', 'c']", '["b"]', "[]", "[ 1, 2]", "[-1]", '[ "b"\n]'):
        assert load(tmp_path / "a.jsonl", ["['a']", label]).scheme.type == "multi_label"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("Grüße\u00a0aus", "Grüße aus"),
        ("\u00a0refund\u200b ", "refund"),
        ("prix\u202f€", "prix €"),
        ("Mehr\u00adwert", "Mehrwert"),
        ("\u200e\u05e2\u05d1\u200f", "\u05e2\u05d1"),
        ("\u200ca\u200d", "a"),
    ],
)
def test_labels_of_ordinary_writing(tmp_path: Path, label: str, name: str) -> None:
    """Joiners within a word stay, every space becomes a plain one, other invisible characters go."""
    assert name in load(tmp_path / "a.jsonl", [label, "other"]).scheme.names


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("a\x1b[31mb", r"label 'a\\x1b\[31mb' holds the control character '\\x1b'; remove it"),
        ("a\u202eb", r"holds the control character '\\u202e'; remove it"),
        ("\u200b", r"label '\\u200b' has no visible character; write a name"),
        ("x" * 201, r"has 201 characters, at most 200 are possible; is it the right column"),
    ],
)
def test_a_label_that_cannot_be_a_name(tmp_path: Path, label: str, message: str) -> None:
    """One line with the place, the cause and the remedy; control characters are escaped."""
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: .*" + message):
        load(tmp_path / "a.jsonl", [label, "other"])
