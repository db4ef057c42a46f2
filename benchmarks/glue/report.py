"""The tables and the plot of docs/method.md, from the lines of the results; nothing there is written by hand."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from benchmarks.glue.grid import CONTENDERS, EPOCHS, METHODS, STUDIES, TASKS, Contender
from benchmarks.glue.plot import scatter
from benchmarks.glue.summary import Line, Score, summarise
from benchmarks.report import RESULTS

DOCS = Path(__file__).parents[2] / "docs"
SPEED = RESULTS / "glue_speed.json"
PAGE, PLOT = DOCS / "method.md", DOCS / "method.svg"
STARTS = ("adakron48", "adakron32", "madakron48-partial", "madakron48-full", "pfeiffer48")


def write_report(lines: list[Line]) -> None:
    """Rewrite the blocks of the page, and the plot."""
    PAGE.write_text(reported(PAGE.read_text(), lines))
    PLOT.write_text(plot(lines))


def reported(page: str, lines: Sequence[Line]) -> str:
    """`page` with each of its blocks `<!-- NAME -->` ... `<!-- /NAME -->` as the lines say."""
    makers = (methods, starts, studies, averages, epochs, provenance)
    blocks = {maker.__name__: maker(lines) for maker in makers}

    def block(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"<!-- {name} -->\n{blocks[name]}<!-- /{name} -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", block, page, flags=re.DOTALL)


def methods(lines: Sequence[Line]) -> str:
    """The table of methods: mean and spread over seeds by task, parameters, and what training costs."""
    speed = json.loads(SPEED.read_text())
    rows, tasks = summarise(lines, METHODS, TASKS), _tasks(lines)
    speeds = {row["method"]: row["tokens/s"] for row in speed["rows"]}
    tokens = next(line["tokens"] for line in lines if line["task"] == speed["settings"]["task"])
    header = ["method", "parameters", *tasks, "mean", "tokens/s", "minutes"]
    body = []
    for row in rows:
        total, rate = row.mean(tasks), speeds.get(row.name)
        body.append(
            [
                row.name,
                f"{row.parameters:,}",
                *(_cell(row.scores.get(task)) for task in tasks),
                "-" if total is None else f"{total:.4f}",
                "-" if rate is None else f"{rate:,.0f}",
                "-" if rate is None else f"{tokens / rate / 60:.1f}",
            ]
        )
    return _table(header, body)


def starts(lines: Sequence[Line]) -> str:
    """Each start of the adapters at its best learning rate, by task, on all seeds that there are."""
    tasks = _tasks(lines)
    body = []
    for name in STARTS:
        contender = CONTENDERS[name]
        for tried in contender.tried:
            start = tried["initialisation"]
            (row,) = summarise(lines, [_only(name, start)], tasks) or [None]
            if row:
                cells = [_rated(row.scores.get(task)) for task in tasks]
                body.append([name, start, *cells])
    return _table(["method", "start", *tasks], body)


def studies(lines: Sequence[Line]) -> str:
    """Return the table of variants of AdaKron48, each beside the unit start with as many epochs."""
    body = []
    for task in _tasks(lines):
        for epochs in sorted({line["epochs"] for line in lines if line["task"] == task}):
            some = [line for line in lines if (line["task"], line["epochs"]) == (task, epochs)]
            rows = summarise(some, STUDIES, [task], epochs)
            plain = next((row.scores[task].mean for row in rows if row.name == "start: unit"), None)
            for row in rows if plain is not None and len(rows) > 2 else ():
                score = row.scores[task]
                gain = "" if row.name == "start: unit" else f"{score.mean - plain:+.4f}"
                body.append([task, str(epochs), row.name, f"{row.parameters:,}", _rated(score), gain])
    return _table(["task", "epochs", "AdaKron48 with", "parameters", "best score, learning rate (seeds)", ""], body)


def averages(lines: Sequence[Line]) -> str:
    """Whether the average of the weights of the last fifth of the steps is better than the best epoch's."""
    body = []
    for task in _tasks(lines):
        pairs = [(line["averaged"], line["scores"][-1], line["score"]) for line in lines if line["task"] == task]
        known = [pair for pair in pairs if pair[0] is not None]
        if known:
            averaged, last, best = (mean(values) for values in zip(*known, strict=True))
            body.append([task, str(len(known)), f"{averaged:.4f}", f"{last:.4f}", f"{best:.4f}"])
    return _table(["task", "runs", "average of the last weights", "last epoch", "best epoch"], body)


def epochs(lines: Sequence[Line]) -> str:
    """The epochs of each task."""
    return ", ".join(f"{task} {EPOCHS[task]}" for task in _tasks(lines)) + "\n"


def provenance(lines: Sequence[Line]) -> str:
    """Return machine, date and number of the runs."""
    kinds: dict[tuple[str, ...], int] = {}
    for line in lines:
        versions = line["versions"]
        kind = (line["device"], line["precision"], f"torch {versions['torch']}", line["date"])
        kinds[kind] = kinds.get(kind, 0) + 1
    return "".join(f"- {count} runs: {', '.join(kind)}\n" for kind, count in kinds.items())


def plot(lines: Sequence[Line]) -> str:
    """Mean of the tasks against parameters."""
    tasks = _tasks(lines)
    points = [
        (row.name, row.parameters, total)
        for row in summarise(lines, METHODS, tasks)
        if (total := row.mean(tasks)) is not None
    ]
    return scatter(points, f"Mean of {', '.join(tasks)}")


def _only(name: str, start: str) -> Contender:
    return replace(CONTENDERS[name], tried=({"initialisation": start},))


def _tasks(lines: Sequence[Line]) -> list[str]:
    return [task for task in TASKS if any(line["task"] == task for line in lines)]


def _cell(score: Score | None) -> str:
    if score is None:
        return "-"
    spread = f" ± {score.spread:.3f}" if score.spread is not None else ""
    return f"{score.mean:.4f}{spread} ({score.num_seeds}; {score.num_candidates})"


def _rated(score: Score | None) -> str:
    return "-" if score is None else f"{score.mean:.4f} at {score.run.learning_rate:g} ({score.num_seeds})"


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
