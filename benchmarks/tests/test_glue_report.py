"""The table of methods: from lines to rows, page and plot."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.glue.__main__ import RESULTS, has, names, read
from benchmarks.glue.grid import CONTENDERS, METHODS, SMALL, Contender, Run, all_runs, stacks
from benchmarks.glue.plot import scatter
from benchmarks.glue.report import PAGE, PLOT, methods, plot, reported
from benchmarks.glue.summary import summarise

A = Contender("a", "adakron", {}, ({"initialisation": "identity"}, {"initialisation": "unit"}))
B = Contender("b", "pfeiffer", {})


def line(run: Run, score: float, averaged: float | None = None) -> dict[str, Any]:
    """A line of the runner, with the fields that a summary reads."""
    return asdict(run) | {"score": score, "averaged": averaged, "parameters": 7, "side_by_side": 2}


def test_the_page_says_what_the_lines_say() -> None:
    """docs/method.md and its plot are those of the committed lines."""
    lines = read(RESULTS)
    assert reported(PAGE.read_text(), lines) == PAGE.read_text()
    assert plot(lines) == PLOT.read_text()


def test_the_best_candidate_is_the_best_on_average() -> None:
    """Mean and deviation are those of one candidate over its seeds, not of the luckiest seed."""
    runs = {seed: A.runs("rte", seed) for seed in (1, 2)}
    scores = {1: [0.5] * 6, 2: [0.5] * 6}
    scores[1][4], scores[2][4] = 0.7, 0.6
    scores[1][2] = 0.9  # with the other seed it is the worst
    scores[2][2] = 0.1
    lines = [line(run, scores[seed][index]) for seed in runs for index, run in enumerate(runs[seed])]
    (row,) = summarise(lines, [A], ["rte", "cola"])
    score = row.scores["rte"]
    assert score.run.learning_rate == runs[1][4].learning_rate
    assert score.run.initialisation == "unit"
    assert (score.mean, score.num_seeds, score.num_candidates) == (pytest.approx(0.65), 2, 6)
    assert score.spread == pytest.approx(0.0707, abs=1e-4)
    assert score.averaged is None
    assert row.mean(["rte"]) == pytest.approx(0.65)
    assert row.mean(["rte", "cola"]) is None


def test_only_seeds_that_all_have_count() -> None:
    """A contender with more seeds is not compared by them; a candidate that lacks a seed is left out."""
    lines = [line(run, 0.6, 0.5) for run in B.runs("rte", 1)]
    lines += [line(run, 0.5) for run in A.runs("rte", 1)]
    lines += [line(run, 0.9) for run in A.runs("rte", 2)]
    a, b = summarise(lines, [A, B], ["rte"])
    assert (a.scores["rte"].mean, a.scores["rte"].num_seeds, a.scores["rte"].spread) == (0.5, 1, None)
    assert (b.scores["rte"].mean, b.scores["rte"].averaged) == (0.6, 0.5)
    lines += [line(run, 0.9) for run in B.runs("rte", 2)[:1]]
    assert summarise(lines, [A, B], ["rte"])[1].scores["rte"].num_candidates == 1


def test_every_method_has_the_same_search() -> None:
    """Six candidates each, on every task, with the same epochs."""
    for task in SMALL:
        runs = [contender.runs(task, 1) for contender in METHODS]
        assert {len(set(candidates)) for candidates in runs} == {6}
        assert len({run.epochs for candidates in runs for run in candidates}) == 1


def test_each_run_of_a_method_that_cannot_be_stacked_is_alone() -> None:
    """LoRA and the like share no stack with another run; a plain adapter and AdaKron do."""
    wanted = all_runs([CONTENDERS[name] for name in ("lora", "adamix48", "pfeiffer32", "adakron48")], ["rte"], [1])
    sizes = {}
    for stack in stacks(wanted, [], largest=96):
        members = [run for group in stack for run in group]
        sizes[frozenset(run.method for run in members)] = len(members)
    assert sizes == {frozenset(["lora"]): 1, frozenset(["adamix"]): 1, frozenset(["pfeiffer", "adakron"]): 12}


def test_a_method_whose_speed_was_not_measured_has_no_speed() -> None:
    """A row of a new contender has dashes instead of tokens a second and minutes."""
    lines = read(RESULTS)
    new = lines[0] | asdict(CONTENDERS["lora"].runs(lines[0]["task"], 1)[0]) | {"parameters": 294_912}
    assert "| lora | 294,912 |" in (table := methods([*lines, new]))
    assert next(row for row in table.splitlines() if row.startswith("| lora")).endswith("| - | - |")


def test_what_is_done_is_not_run_again() -> None:
    """A stack holds what has no line yet, of one backbone and one order of batches, at most so many runs."""
    wanted = all_runs([CONTENDERS["adakron48"], CONTENDERS["full"], CONTENDERS["head"]], ["rte"], [1, 2])
    found = stacks(wanted, wanted[:3], largest=8)
    runs = [run for stack in found for group in stack for run in group]
    assert sorted(map(repr, runs)) == sorted(map(repr, wanted[3:]))
    for stack in found:
        members = [run for group in stack for run in group]
        assert len(members) <= 8
        assert len({(run.seed, run.method == "full") for run in members}) == 1
    assert stacks(wanted, wanted, largest=8) == []
    alone = stacks(wanted, [], largest=1)
    assert all(len(stack) == len(stack[0]) == 1 for stack in alone)
    assert len(alone) == len(wanted)


def test_only_some_candidates() -> None:
    """A number is compared as a number, a word as a word."""
    run = A.runs("rte", 1)[0]
    assert has(run, "learning_rate=7e-4")
    assert has(run, "initialisation=identity")
    assert not has(run, "initialisation=unit")
    assert not has(run, "bottleneck=32")


def test_names_of_sets() -> None:
    """Sets stand for their members; what is neither is refused."""
    assert names("small") == list(SMALL)
    assert names("methods")[:2] == ["full", "head"]
    assert names("cola, adakron48") == ["cola", "adakron48"]
    with pytest.raises(Exception, match="ia3: not one of"):
        names("ia3")


def test_a_broken_line_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The runner was killed while it wrote: the lines before are read, and it is said."""
    path = tmp_path / "glue.jsonl"
    path.write_text(json.dumps({"task": "rte"}) + '\n{"task": "co')
    assert read(path) == [{"task": "rte"}]
    assert "a broken line is left out" in capsys.readouterr().err
    assert read(tmp_path / "none.jsonl") == []


def test_the_plot_is_svg_with_every_point() -> None:
    """Names are escaped; higher scores lie higher, more parameters further right."""
    svg = ElementTree.fromstring(scatter([("small & good", 1_000, 0.9), ("big", 10_000_000, 0.5)], "a <title>"))
    space = "{http://www.w3.org/2000/svg}"
    circles = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in svg.iter(space + "circle")]
    assert len(circles) == 2
    (small_x, small_y), (big_x, big_y) = circles
    assert small_x < big_x
    assert small_y < big_y  # downwards
    texts = [text.text for text in svg.iter(space + "text")]
    assert {"small & good", "big", "a <title>"} <= set(texts)
