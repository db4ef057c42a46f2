"""The benchmark of gates by user: made annotators, jobs that continue, and the table."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.users import __main__ as users
from benchmarks.users.annotators import NO, YES, Annotator, Pair, draw_rows, make_annotators, share_of_words
from benchmarks.users.contenders import by_user
from benchmarks.users.table import make_table

PAIRS = [Pair((f"a {n}", f"b {n}"), n % 6, (n % 5) - 2.0) for n in range(60)]


def test_an_annotator_decides_by_threshold_and_bias() -> None:
    """Yes if the score and the bias times the overlap are above the threshold."""
    for annotator in make_annotators(20):
        for pair in PAIRS:
            above = pair.score + annotator.bias * pair.overlap > annotator.threshold
            assert annotator.label(pair) == (YES if above else NO)


def test_annotators_differ_and_stay() -> None:
    """The first annotators are the same however many are made, and their thresholds are spread."""
    assert make_annotators(5) == make_annotators(200)[:5]
    thresholds = [item.threshold for item in make_annotators(200)]
    assert min(thresholds) < 1.7
    assert max(thresholds) > 3.8


def test_fewer_rows_are_the_beginning_of_more() -> None:
    """5 rows of an annotator are the first of 20, and test rows are drawn apart."""
    annotator = Annotator("user 3", 2.0, 0.5)
    rows = draw_rows(annotator, PAIRS, 20, "train")
    assert draw_rows(annotator, PAIRS, 5, "train") == rows[:5]
    assert draw_rows(annotator, PAIRS, 20, "test") != rows
    assert share_of_words("A b c", "b C d") == 0.5


def test_accuracy_by_user() -> None:
    """Each user's share of right answers."""
    rows = draw_rows(Annotator("one", 2.0, 0.0), PAIRS, 4, "train") + draw_rows(
        Annotator("two", 9.0, 0.0), PAIRS, 2, "x"
    )
    answers = [row.label for row in rows[:3]] + ["?", NO, NO]
    assert by_user(rows, answers) == {"one": 0.75, "two": 1.0}


def test_finished_trainings_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run trains only what has no line; the table has a row for each contender."""
    measured: list[tuple[Any, ...]] = []

    def measure(contender: str, rows: int, user: int | None, annotators: list[Annotator], *_: object) -> dict[str, Any]:
        measured.append((contender, rows, user))
        accuracy = {"shared": 0.7, "gated": 0.8, "adapted": 0.75, "own": 0.6, "ceiling": 0.9}[contender]
        names = {item.name: accuracy for item in annotators}
        return {"accuracy": accuracy, "by_user": names, "mean_gate": 0.65}

    monkeypatch.setattr(users, "measure", measure)
    monkeypatch.setattr(users, "load_pairs", lambda: (PAIRS, PAIRS))
    monkeypatch.setattr(users, "load_backbone", lambda *_, **__: None)
    results = tmp_path / "users.jsonl"
    few = ["run", "--users", "4", "--rows", "5", "--own-users", "1", "--results", str(results)]
    users.main(few)
    assert measured == [
        ("shared", 5, None),
        ("gated", 5, None),
        ("adapted", 5, None),
        ("ceiling", 1000, 0),
        ("own", 5, 0),
    ]
    users.main(few)
    assert len(measured) == 5
    users.main([*few[:3], "--rows", "5,20", *few[5:], "--contenders", "shared"])
    assert measured[5:] == [("shared", 20, None)]
    capsys.readouterr()
    users.main(["report", "--results", str(results)])
    said = capsys.readouterr().out
    assert "4 made annotators of STS-B" in said
    assert "| one adapter for all users | 0.700 | 0.700 |" in said
    assert "| unknown users: the mean gate | 0.650 | - |" in said
    assert "| way from shared to the goal, same users | 50% | - |" in said


def test_no_results() -> None:
    """Without lines the report says so."""
    assert make_table([]) == "no results yet"
