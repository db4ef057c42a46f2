"""Gates by user on made annotators: accuracy at 5, 20 and 100 rows a user, and print the table.

    python -m benchmarks.users run
    python -m benchmarks.users run --users 12 --rows 5,20 --own-users 2 --contenders shared,gated
    python -m benchmarks.users report

`run` adds a line to benchmarks/results/users.jsonl for each training, and begins none that has one, so it continues
after an interruption. The annotators are made: benchmarks/users/annotators.py says how.
"""

import argparse
import json
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch

from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.config import DEFAULT_BACKBONE
from adapters.serving.inference import to_gated_model
from benchmarks.report import machine
from benchmarks.users.annotators import Annotator, Pair, Row, draw_rows, load_pairs, make_annotators
from benchmarks.users.contenders import EPOCHS, Setting, adapted, by_user, gated, own, share_right, shared, train_gated
from benchmarks.users.table import Line, make_table
from service.train.package import library_versions
from service.train.prepare import limit_threads, quieten_libraries

RESULTS = Path(__file__).parent.parent / "results" / "users.jsonl"
USERS, ROWS, TESTS = 200, (5, 20, 100), 100
CEILING = 1000  # rows of a user whose own adapter is the goal
KNOWN = 0.5  # share of the users that the training knows when the others are adapted
KEY = ("contender", "users", "rows", "user", "epochs", "backbone")  # of a line
CONTENDERS = ("shared", "gated", "adapted", "own", "ceiling")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, and run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="train what is missing")
    run.add_argument("--users", type=int, default=USERS)
    run.add_argument("--rows", type=_numbers, default=list(ROWS), help="rows a user, such as 5,20,100")
    run.add_argument("--own-users", type=int, default=20, help="users who get an adapter each, from the first on")
    run.add_argument("--contenders", type=lambda text: text.split(","), default=list(CONTENDERS))
    run.add_argument("--epochs", type=int, default=EPOCHS)
    run.add_argument("--backbone", default=DEFAULT_BACKBONE)
    run.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    run.add_argument("--time-budget", type=float, default=float("inf"), help="seconds after which none is begun")
    run.add_argument("--results", type=Path, default=RESULTS)
    run.set_defaults(function=run_all)
    report = commands.add_parser("report", help="print the table")
    report.add_argument("--results", type=Path, default=RESULTS)
    report.set_defaults(function=lambda given: print(make_table(read(given.results))))
    given = parser.parse_args(arguments)
    given.function(given)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def read(path: Path) -> list[Line]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_all(given: argparse.Namespace) -> None:
    """Train what has no line yet: few rows first, so that an interrupted run has whole columns."""
    quieten_libraries()
    limit_threads()
    began, done = time.monotonic(), {tuple(line[name] for name in KEY) for line in read(given.results)}
    loaded = load_backbone(given.backbone, device=given.device)
    setting = Setting(given.backbone, given.device, given.epochs)
    pairs, annotators = load_pairs(), make_annotators(given.users)
    given.results.parent.mkdir(parents=True, exist_ok=True)
    with given.results.open("a") as file:
        for contender, rows, user in jobs(given):
            name = None if user is None else annotators[user].name
            key = (contender, given.users, rows, name, given.epochs, given.backbone)
            if key in done:
                continue
            if time.monotonic() - began > given.time_budget:
                print("time is up")
                return
            started = time.perf_counter()
            found = measure(contender, rows, user, annotators, pairs, loaded, setting)
            line = dict(zip(KEY, key, strict=True)) | {
                **found,
                "seconds": round(time.perf_counter() - started, 1),
                "tests": TESTS,
                "threads": torch.get_num_threads(),
                "machine": machine(),
                "versions": library_versions(),
                "date": date.today().isoformat(),
            }
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(f"{contender}, {rows} rows{'' if name is None else f', {name}'}: {found['accuracy']:.4f}", flush=True)


def jobs(given: argparse.Namespace) -> Iterator[tuple[str, int, int | None]]:
    """Each training: contender, rows a user, and the user if it is for one."""
    for rows in given.rows:
        for contender in ("shared", "gated", "adapted"):
            if contender in given.contenders:
                yield contender, rows, None
    for user in range(min(given.own_users, given.users)):
        if "ceiling" in given.contenders:
            yield "ceiling", CEILING, user
        for rows in given.rows:
            if "own" in given.contenders:
                yield "own", rows, user


def measure(
    contender: str,
    rows: int,
    user: int | None,
    annotators: list[Annotator],
    pairs: tuple[list[Pair], list[Pair]],
    loaded: LoadedBackbone,
    setting: Setting,
) -> dict[str, Any]:
    """Train one contender, and return the mean accuracy over users, with that of each user."""
    if user is not None:
        train, test = (_draw([annotators[user]], pairs, count) for count in (rows, None))
        return {"accuracy": round(share_right(test, own(train, test, loaded, setting)), 4)}
    if contender == "adapted":
        return _measure_adapted(rows, annotators, pairs, loaded, setting)
    train, test = _draw(annotators, pairs, rows), _draw(annotators, pairs, None)
    answers = (shared if contender == "shared" else gated)(train, test, loaded, setting)
    return _summary(by_user(test, answers))


def _measure_adapted(
    rows: int,
    annotators: list[Annotator],
    pairs: tuple[list[Pair], list[Pair]],
    loaded: LoadedBackbone,
    setting: Setting,
) -> dict[str, Any]:
    """Train gates on some of the users, with as many rows each, and adapt the gate of each of the others."""
    known = annotators[: max(2, int(KNOWN * len(annotators)))]
    adapter = train_gated(_draw(known, pairs, rows), setting)
    before, after = {}, {}
    for annotator in annotators[len(known) :]:
        train, test = _draw([annotator], pairs, rows), _draw([annotator], pairs, None)
        answers = adapted(to_gated_model(loaded, adapter), adapter, train, test, loaded)
        before[annotator.name], after[annotator.name] = (share_right(test, item) for item in answers)
    return _summary(after) | {"mean_gate": _summary(before)["accuracy"], "known_users": len(known)}


def _draw(annotators: list[Annotator], pairs: tuple[list[Pair], list[Pair]], count: int | None) -> list[Row]:
    """The training rows of the annotators, `count` each; None: the rows to test on."""
    train, test = pairs
    return [
        row
        for annotator in annotators
        for row in (
            draw_rows(annotator, test, TESTS, "test") if count is None else draw_rows(annotator, train, count, "train")
        )
    ]


def _summary(accuracies: dict[str, float]) -> dict[str, Any]:
    mean = sum(accuracies.values()) / len(accuracies)
    return {"accuracy": round(mean, 4), "by_user": {user: round(value, 4) for user, value in accuracies.items()}}


if __name__ == "__main__":
    main()
