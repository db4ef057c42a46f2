"""Train RTE, MRPC and STS-B alone, together with one adapter, and together with gates; print the table.

    python -m benchmarks.together run --seeds 42,43,44
    python -m benchmarks.together run --tasks rte,mrpc --arms none,task --mixed-precision bf16
    python -m benchmarks.together report

`run` adds a line to benchmarks/results/together.jsonl for each task of each training, and begins no training that has
its lines, so it continues after an interruption. All arms have the default recipe and the same epochs; a score is that
of the best epoch on the validation split (MRPC: its test split), which also chose it.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from rich.console import Console

from adapters.config import DEFAULT_BACKBONE
from benchmarks.report import machine
from benchmarks.sentences import split_rows
from service.train import pipeline
from service.train.options import TrainOptions
from service.train.package import library_versions
from service.train.result import TrainResult
from service.train.together import train_tasks

RESULTS = Path(__file__).parent.parent / "results" / "together.jsonl"
VALIDATION = {"rte": "validation", "mrpc": "test", "stsb": "validation"}
ARMS = {"alone": "each task alone", "none": "together, one adapter", "task": "together, a gate for each task"}
KEY = ("arm", "tasks", "seed", "epochs", "experts", "mixed_precision", "backbone")  # of a training
Line = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, and run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="train what is missing")
    run.add_argument("--tasks", type=_names, default=list(VALIDATION))
    run.add_argument("--arms", type=_names, default=list(ARMS))
    run.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[42, 43, 44])
    run.add_argument("--epochs", type=int, default=10)
    run.add_argument("--experts", type=int, default=4)
    run.add_argument("--mixed-precision", default="no", choices=("no", "bf16"))
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


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def read(path: Path) -> list[Line]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_all(given: argparse.Namespace) -> None:
    """Run each training that has no lines yet, all arms of a seed before the next seed."""
    began, done = time.monotonic(), {tuple(line[name] for name in KEY) for line in read(given.results)}
    given.results.parent.mkdir(parents=True, exist_ok=True)
    with given.results.open("a") as file:
        for arm, tasks, seed in jobs(given):
            common = (given.epochs, given.experts if arm == "task" else 1, given.mixed_precision, given.backbone)
            key = (arm, "+".join(tasks), seed, *common)
            if key in done:
                continue
            if time.monotonic() - began > given.time_budget:
                print("time is up")
                return
            started = time.perf_counter()
            results = train(arm, tasks, seed, given)
            seconds = round(time.perf_counter() - started, 1)
            for result in results:
                line = dict(zip(KEY, key, strict=True)) | {
                    "task": result.task,
                    "metric": result.metric,
                    "score": round(result.metrics[result.metric], 4),
                    "trained_epochs": result.epochs,
                    "seconds": seconds,  # of the whole training
                    "threads": torch.get_num_threads(),
                    "machine": machine(),
                    "versions": library_versions(),
                    "date": date.today().isoformat(),
                }
                file.write(json.dumps(line) + "\n")
                print(f"{arm}, seed {seed}: {result.task} {line['score']:.4f}, {seconds:.0f} s in all", flush=True)
            file.flush()


def jobs(given: argparse.Namespace) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Each training: arm, tasks and seed."""
    for seed in given.seeds:
        for arm in given.arms:
            if arm == "alone":
                yield from ((arm, (task,), seed) for task in given.tasks)
            else:
                yield arm, tuple(given.tasks), seed


def train(arm: str, tasks: Sequence[str], seed: int, given: argparse.Namespace) -> list[TrainResult]:
    """Train one arm, and return a result for each task."""
    quiet = Console(quiet=True)
    with tempfile.TemporaryDirectory() as name:
        options = [_options(task, seed, Path(name), given) for task in tasks]
        if arm == "alone":
            result = pipeline.train(options[0], quiet)
            assert result is not None
            return [result]
        return train_tasks(options, gated=arm == "task", temperature=2.0, console=quiet)


def _options(task: str, seed: int, folder: Path, given: argparse.Namespace) -> TrainOptions:
    files = {part: folder / f"{task}-{part}.jsonl" for part in ("train", "validation")}
    for part, path in files.items():
        rows = split_rows(f"{task}/{VALIDATION[task] if part == 'validation' else part}")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TrainOptions.of(
        task=task,
        train=str(files["train"]),
        validation=str(files["validation"]),
        type="regression" if task == "stsb" else "auto",
        output=folder / "run" / task,
        seed=seed,
        epochs=given.epochs,
        experts=given.experts,
        mixed_precision=given.mixed_precision,
        backbone=given.backbone,
        device="cpu" if given.device == "cpu" else "auto",
    )


def make_table(lines: Sequence[Line]) -> str:
    """Make the table: for each arm and task the mean score, its deviation and the number of seeds."""
    cells: Mapping[tuple[str, str], list[float]] = defaultdict(list)
    for line in lines:
        cells[line["arm"], line["task"]].append(line["score"])
    tasks = [task for task in VALIDATION if any(task == found for _, found in cells)]
    table = ["| | " + " | ".join(tasks) + " |", "| --- " * (len(tasks) + 1) + "|"]
    for arm, caption in ARMS.items():
        if any((arm, task) in cells for task in tasks):
            table.append(f"| {caption} | " + " | ".join(_cell(cells.get((arm, task), [])) for task in tasks) + " |")
    return "\n".join(table)


def _cell(scores: Sequence[float]) -> str:
    if not scores:
        return "-"
    spread = f" ± {stdev(scores):.3f}" if len(scores) > 1 else ""
    return f"{fmean(scores):.4f}{spread} ({len(scores)})"


if __name__ == "__main__":
    main()
