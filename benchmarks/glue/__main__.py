"""Train the grid, or what of it is missing, and write the table and the plot.

    python -m benchmarks.glue run --data glue/ --tasks cola,rte --contenders full,adakron48 --time-budget 600
    python -m benchmarks.glue run --data hub --backbone bert-base-uncased --tasks all --device cuda
    python -m benchmarks.glue run --data glue/ --tasks cola,rte --contenders "start: unit,variants" --bfloat16
    python -m benchmarks.glue compare --tasks cola,rte --contenders variants
    python -m benchmarks.glue speed --data glue/
    python -m benchmarks.glue report

`run` adds a line to benchmarks/results/glue.jsonl for each run (task x candidate x seed), and begins none that has one.
Runs that see the same batches are trained side by side; stacks run in `--workers` processes.
"""

import argparse
import json
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from adapters.config import DEFAULT_BACKBONE
from benchmarks.glue import worker
from benchmarks.glue.grid import CONTENDERS, METHODS, SMALL, STUDIES, TASKS, VARIED, Run, all_runs, stacks
from benchmarks.glue.paired import compare, make_table
from benchmarks.glue.report import write_report
from benchmarks.glue.speed import measure

RESULTS = Path(__file__).parent.parent / "results" / "glue.jsonl"
SETS = {
    "methods": [contender.name for contender in METHODS],
    "studies": [contender.name for contender in STUDIES],
    "variants": [contender.name for contender in VARIED],
    "small": SMALL,
    "all": TASKS,
}


def main() -> None:
    """Parse, and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="train what is missing")
    run.add_argument("--data", required=True, help="a folder of TASK/train.jsonl ..., or hub")
    run.add_argument("--backbone", default=DEFAULT_BACKBONE)
    run.add_argument("--tasks", type=names, default=list(SMALL), help="names, small or all")
    run.add_argument("--contenders", type=names, default=SETS["methods"], help="names, methods, studies or variants")
    run.add_argument("--seeds", type=int, default=3, help="how many")
    run.add_argument(
        "--only", action="append", default=[], help="candidates with FIELD=VALUE, such as initialisation=unit"
    )
    run.add_argument("--epochs", type=int, help="instead of each task's own number")
    run.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    run.add_argument("--bfloat16", action="store_true", help="compute in it; weights that learn stay float32")
    run.add_argument(
        "--side-by-side", type=int, default=0, help="runs in a stack, at most; by default 96 on a GPU, else 1"
    )
    run.add_argument("--workers", type=int, default=1)
    run.add_argument("--time-budget", type=float, default=float("inf"), help="seconds after which none is begun")
    run.add_argument("--results", type=Path, default=RESULTS)
    run.set_defaults(function=run_grid)
    speed = commands.add_parser("speed", help="measure what a training of each method costs")
    speed.add_argument("--data", required=True)
    speed.add_argument("--backbone", default=DEFAULT_BACKBONE)
    speed.add_argument("--task", default="cola")
    speed.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    speed.add_argument("--bfloat16", action="store_true")
    speed.add_argument("--rounds", type=int, default=3)
    speed.set_defaults(
        function=lambda given: measure(
            worker.Setting(given.data, given.backbone, given.device, given.bfloat16), given.task, given.rounds
        )
    )
    compare = commands.add_parser("compare", help="print each contender beside one, with a paired test over the seeds")
    compare.add_argument("--tasks", type=names, default=list(SMALL), help="names, small or all")
    compare.add_argument("--contenders", type=names, default=SETS["variants"], help="names, methods, studies ...")
    compare.add_argument("--baseline", default="start: unit", choices=list(CONTENDERS), metavar="NAME")
    compare.add_argument("--seeds", type=int, default=3, help="how many are wanted")
    compare.add_argument("--results", type=Path, default=RESULTS)
    compare.set_defaults(function=print_comparison)
    report = commands.add_parser("report", help="write docs/method.md's table and plot")
    report.add_argument("--results", type=Path, default=RESULTS)
    report.set_defaults(function=lambda given: write_report(read(given.results)))
    given = parser.parse_args()
    given.function(given)


def names(text: str) -> list[str]:
    """Comma-separated names; names of sets stand for their members."""
    found = [name for part in text.split(",") for name in SETS.get(part.strip(), [part.strip()])]
    unknown = [name for name in found if name not in CONTENDERS and name not in TASKS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join([*TASKS, *CONTENDERS, *SETS])}")
    return found


def has(run: Run, setting: str) -> bool:
    """Whether a run has FIELD=VALUE."""
    name, _, value = setting.partition("=")
    own = getattr(run, name)
    return bool(own == type(own)(value))


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file; one that was cut while it was written is left out."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except ValueError:
            print(f"{path}: a broken line is left out", file=sys.stderr)
    return records


def print_comparison(given: argparse.Namespace) -> None:
    """Print the table of benchmarks.glue.paired."""
    contenders = [CONTENDERS[name] for name in given.contenders]
    seeds = range(1, given.seeds + 1)
    print(make_table(compare(read(given.results), CONTENDERS[given.baseline], contenders, given.tasks, seeds)))


def run_grid(given: argparse.Namespace) -> None:
    """Train what has no line yet."""
    started = time.monotonic()
    setting = worker.Setting(given.data, given.backbone, given.device, given.bfloat16)
    contenders = [CONTENDERS[name] for name in given.contenders]
    wanted = all_runs(contenders, given.tasks, range(1, given.seeds + 1), given.epochs)
    wanted = [run for run in wanted if all(has(run, setting) for setting in given.only)]
    done = [Run.of(line) for line in read(given.results) if line["backbone"] == given.backbone]
    largest = given.side_by_side or (96 if given.device == "cuda" else 1)
    waiting = stacks(wanted, done, largest)
    total = len(waiting)
    print(f"{sum(len(group) for stack in waiting for group in stack)} runs in {total} stacks", flush=True)
    given.results.parent.mkdir(parents=True, exist_ok=True)
    with (
        ProcessPoolExecutor(given.workers, get_context("spawn"), worker.initialise, (setting,)) as pool,
        given.results.open("a") as file,
    ):
        running: set[Future[list[dict[str, Any]]]] = set()
        while waiting or running:
            while waiting and len(running) < given.workers and time.monotonic() - started < given.time_budget:
                running.add(pool.submit(worker.train, waiting.pop(0), setting))
            if not running:
                print(f"time is up: {len(waiting)} of {total} stacks are left")
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                failure = future.exception()
                if failure is not None:  # out of memory, say: the other stacks go on, and the next call tries it again
                    print(f"a stack failed: {type(failure).__name__}: {failure}", file=sys.stderr, flush=True)
                    continue
                lines = future.result()
                file.writelines(json.dumps(line) + "\n" for line in lines)
                file.flush()
                first = lines[0]
                print(
                    f"{time.monotonic() - started:6.0f} s  {first['task']} seed {first['seed']}: {len(lines)} runs in "
                    f"{first['stack_seconds']} s, best {max(line['score'] for line in lines):.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
