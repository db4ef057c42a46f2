"""docs/performance.md says what the committed results say."""

import json
from pathlib import Path

import pytest

from benchmarks.quote import PAGE, quoted


def test_the_page_quotes_the_results() -> None:
    """Quoting again changes nothing."""
    assert quoted(PAGE.read_text()) == PAGE.read_text()


def test_a_block_is_replaced(tmp_path: Path) -> None:
    """Table, targets and machine of the named result stand between its marks; the rest stays."""
    result = {
        "machine": {"cpu": "a cpu", "cores": 2},
        "date": "2026-01-02",
        "settings": {"clients": 64},
        "rows": [{"clients": 64, "requests/s": 123.4, "p99 ms": None}],
        "notes": ["a note"],
        "targets": [
            {"claim": "fast", "value": 0.9, "target": "at least 0.8", "reached": True},
            {"claim": "small", "value": 2.0, "target": "at most 1", "reached": False},
        ],
    }
    (tmp_path / "service.json").write_text(json.dumps(result))
    page = quoted("before\n<!-- service -->\nold\n<!-- /service -->\nafter\n", tmp_path)
    assert page.startswith(
        "before\n<!-- service -->\n| clients | requests/s | p99 ms |\n|---|---|---|\n| 64 | 123.4 | - |\n"
    )
    assert "- Reached: fast: 0.9 (target: at least 0.8)\n- **Missed**: small: 2.0" in page
    assert "- a note\n\n*2026-01-02, 2 cores of a cpu; clients 64.*\n<!-- /service -->\nafter\n" in page


def test_a_block_without_results_is_an_error(tmp_path: Path) -> None:
    """Nothing is quoted that was not measured."""
    with pytest.raises(FileNotFoundError):
        quoted("<!-- nothing -->\n<!-- /nothing -->", tmp_path)
