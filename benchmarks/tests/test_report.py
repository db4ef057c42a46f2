"""benchmarks.report: a missed target is reported as missed."""

import json
from pathlib import Path

import pytest

from benchmarks import report as module
from benchmarks.report import Target, report


@pytest.mark.parametrize(
    ("kind", "value", "reached"),
    [
        ("at least", 0.9, True),
        ("at least", 0.899, False),
        ("at most", 2.0, True),
        ("at most", 2.001, False),
        ("at least", float("nan"), False),
        ("at most", float("nan"), False),
    ],
)
def test_a_target_is_reached_at_its_limit_and_never_by_nothing(kind: str, value: float, reached: bool) -> None:
    """The limit itself counts; a value that could not be measured does not."""
    limit = 0.9 if kind == "at least" else 2.0
    assert Target("claim", value, kind, limit).reached is reached  # type: ignore[arg-type]


def test_the_file_says_what_was_measured_where_and_whether_targets_were_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows, settings and targets are in the JSON, with nothing for what has no value; the table has the same."""
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    rows = [{"what": "a", "per s": 1234.5678}, {"what": "b", "per s": float("nan")}]
    report("name", {"tasks": 64}, rows, [Target("fast", 1.0, "at least", 2.0)], ["a note"])
    found = json.loads((tmp_path / "results" / "name.json").read_text())
    assert found["rows"] == [{"what": "a", "per s": 1235.0}, {"what": "b", "per s": None}]
    assert found["targets"] == [{"claim": "fast", "value": 1.0, "target": "at least 2", "reached": False}]
    assert found["settings"] == {"tasks": 64}
    assert found["machine"]["cores"] >= 1
    assert found["versions"]["torch"]
    printed = capsys.readouterr().out
    assert "a     1,234.6" in printed
    assert "b           -" in printed
    assert "MISSED: fast" in printed
