"""The benchmark of tasks trained together: jobs that continue, and the table."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.together import __main__ as together

SCORES = {"alone": 0.58, "none": 0.61, "task": 0.62}


def test_finished_trainings_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run trains only what has no line; the table has a row for each arm with the number of seeds."""
    trained: list[tuple[str, tuple[str, ...], int]] = []

    def train(arm: str, tasks: tuple[str, ...], seed: int, _: object) -> list[Any]:
        trained.append((arm, tasks, seed))
        metrics = {"accuracy": SCORES[arm] + 0.02 * (seed == 2)}
        return [SimpleNamespace(task=task, metric="accuracy", metrics=metrics, epochs=1.0) for task in tasks]

    monkeypatch.setattr(together, "train", train)
    results = tmp_path / "together.jsonl"
    command = ["run", "--tasks", "rte,mrpc", "--results", str(results), "--seeds"]
    together.main([*command, "1"])
    both = ("rte", "mrpc")
    assert trained == [("alone", ("rte",), 1), ("alone", ("mrpc",), 1), ("none", both, 1), ("task", both, 1)]
    together.main([*command, "1,2"])
    assert [item[2] for item in trained] == [1, 1, 1, 1, 2, 2, 2, 2]
    capsys.readouterr()
    together.main(["report", "--results", str(results)])
    said = capsys.readouterr().out
    assert "| each task alone | 0.5900 ± 0.014 (2) | 0.5900 ± 0.014 (2) |" in said
    assert "| together, a gate for each task | 0.6300 ± 0.014 (2) |" in said
