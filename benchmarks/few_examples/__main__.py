"""Train on few rows, several draws of each, and print the table.

    python -m benchmarks.few_examples run --draws 5
    python -m benchmarks.few_examples run --sets sst2 --sizes "8 a class,16 a class" --contenders default,full
    python -m benchmarks.few_examples run --contenders setfit --setfit-python ENVIRONMENT/bin/python
    python -m benchmarks.few_examples report

`run` adds a line to benchmarks/results/few_examples.jsonl for each training, and begins none that has one, so it
continues after an interruption.
"""

import argparse
import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch

from adapters.config import DEFAULT_BACKBONE
from benchmarks.few_examples.contenders import CONTENDERS, DEFAULTS, Setting, measure
from benchmarks.few_examples.sets import SETS, SIZES, draw, load_set
from benchmarks.few_examples.table import Line, make_table
from benchmarks.report import machine
from service.train.package import library_versions
from service.train.prepare import limit_threads, quieten_libraries

RESULTS = Path(__file__).parent.parent / "results" / "few_examples.jsonl"
KEY = ("set", "size", "contender", "draw", "backbone")  # of a line


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, and run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="train what is missing")
    run.add_argument("--sets", type=choices(SETS), default=list(SETS))
    run.add_argument("--sizes", type=choices(SIZES), default=list(SIZES))
    run.add_argument("--contenders", type=choices(CONTENDERS), default=list(DEFAULTS))
    run.add_argument("--draws", type=int, default=5)
    run.add_argument("--backbone", default=DEFAULT_BACKBONE)
    run.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    run.add_argument("--setfit-python", help="the Python of an environment with setfit")
    run.add_argument("--time-budget", type=float, default=float("inf"), help="seconds after which none is begun")
    run.add_argument("--results", type=Path, default=RESULTS)
    run.set_defaults(function=run_all)
    report = commands.add_parser("report", help="print the table")
    report.add_argument("--results", type=Path, default=RESULTS)
    report.set_defaults(function=lambda given: print(make_table(read(given.results))))
    given = parser.parse_args(arguments)
    given.function(given)


def choices(known: Any) -> Any:
    """Make the parser of a comma-separated list of known names."""

    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return names

    return parse


def read(path: Path) -> list[Line]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_all(given: argparse.Namespace) -> None:
    """Train each combination that has no line yet: small draws first, so that an interrupted run has whole rows."""
    quieten_libraries()
    limit_threads()
    setting = Setting(given.backbone, given.device, given.setfit_python)
    began = time.monotonic()
    done = {tuple(line[name] for name in KEY) for line in read(given.results)}
    given.results.parent.mkdir(parents=True, exist_ok=True)
    with given.results.open("a") as file:
        for size in given.sizes:
            for name in given.sets:
                data = load_set(name)
                for number in range(given.draws):
                    rows = draw(data, size, number)
                    for contender in given.contenders:
                        key = (name, size, contender, number, given.backbone)
                        if key in done:
                            continue
                        if time.monotonic() - began > given.time_budget:
                            print("time is up")
                            return
                        score, seconds = measure(contender, rows, data.test, number, setting)
                        line = dict(zip(KEY, key, strict=True)) | {
                            "score": round(score, 4),
                            "seconds": round(seconds, 1),
                            "rows": len(rows),
                            "tests": len(data.test),
                            "origin": data.origin,
                            "threads": torch.get_num_threads(),
                            "machine": machine(),
                            "versions": library_versions(),
                            "date": date.today().isoformat(),
                        }
                        file.write(json.dumps(line) + "\n")
                        file.flush()
                        print(f"{name}, {size}, draw {number}: {contender} {score:.4f} in {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
