"""Training an adapter against fine-tuning all weights as is usual: tokens a second, and peak memory.

`adakron train` (AdaKron48 in all layers, packed batches, its default recipe) beside BertForSequenceClassification under
transformers' Trainer with its defaults, padded to the longest text of each batch in random order, the same with
batches of like length (group_by_length), and padded to 128 tokens; and all weights on packed batches
(`adakron train --method full`), which shows the effect of packing. The same texts, each once, of a GLUE task or of
all five; each training in a process of its own, in turns. Tokens are counted without padding, from the end of the
warm-up to the end of the last step, evaluation left out.

    ADAKRON_GLUE_DIR=... python -m benchmarks.engine.training [--tasks sst2 mrpc] [--repeats 3] [--device cuda]

Writes benchmarks/results/training.json. Each ratio is the median of the rounds' ratios.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.report import Target, report
from benchmarks.sentences import split_rows, texts_of
from service.processes.cgroups import num_cores

OURS, PACKED = "adakron", "full, packed"
USUAL, GROUPED, FIXED = "full, longest", "full, like lengths", "full, 128"
CONTESTANTS = {
    OURS: {"method": "adakron"},
    PACKED: {"method": "full"},
    USUAL: {"method": "padded"},
    GROUPED: {"method": "padded", "sampling": "group_by_length"},
    FIXED: {"method": "padded", "padding": "max_length"},
}
TASKS = ("sst2", "cola", "rte", "mrpc", "mix")
MIX = ("sst2", "cola", "rte", "mrpc", "stsb")
FIXED_SHARE = 4  # of the texts a fourth is enough where each step computes the same
Found = Mapping[str, float]  # of one training, see training_run.Measured


def draw(task: str, num_words: int, multiple: int) -> list[dict[str, str]]:
    """Rows of the task's training file, evenly spread, with about `num_words` words; a multiple of `multiple` rows.

    The task `mix` is to classify which of the five a text is from; the texts of a pair are joined.
    """
    if task == "mix":
        parts = [draw(one, num_words // len(MIX), 1) for one in MIX]
        rows = [
            {"sentence": " ".join(texts_of(row)), "label": one}
            for one, part in zip(MIX, parts, strict=True)
            for row in part
        ]
    else:
        rows = split_rows(f"{task}/train")
        words = sum(len(text.split()) for row in rows for text in texts_of(row))
        share = min(1.0, num_words / words)
        rows = [rows[int(place / share)] for place in range(int(len(rows) * share))]
    return rows[: len(rows) // multiple * multiple] if multiple > 1 else rows


def write(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """The two files of a training; it is ended before it evaluates, so a few rows to validate will do."""
    folder.mkdir()
    for name, some in (("train", rows), ("validation", rows[:: max(1, len(rows) // 32)])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))


def measure(setup: Mapping[str, object]) -> Found:
    """Run one training in a new process; exits if it fails."""
    command = [sys.executable, "-m", "benchmarks.engine.training_run", json.dumps(setup)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        sys.exit(f"{setup}: {child.stderr}")
    found: Found = json.loads(child.stdout.splitlines()[-1])
    return found


def rate(found: Found) -> float:
    """Real tokens a second."""
    return found["tokens"] / found["seconds"]


def own_bytes(found: Found) -> float:
    """Return the memory of data, weights and training without that of the libraries."""
    return found["bytes_peak"] - found["bytes_before"]


def ratios(ours: Sequence[Found], theirs: Sequence[Found]) -> tuple[float, float]:
    """Ours over theirs, of the rate and of the memory: the medians over the rounds that both took part in."""
    pairs = list(zip(ours, theirs, strict=False))
    return (
        statistics.median(rate(a) / rate(b) for a, b in pairs),
        statistics.median(own_bytes(a) / own_bytes(b) for a, b in pairs),
    )


def rows_of(task: str, batch_size: int, found: Mapping[str, Sequence[Found]]) -> list[dict[str, object]]:
    """One row a contestant, medians over its rounds."""
    rows: list[dict[str, object]] = []
    for contestant, rounds in found.items():
        faster, smaller = ratios(found[OURS], rounds)
        rows.append(
            {
                "task": task,
                "batch": batch_size,
                "training": contestant,
                "tokens/s": statistics.median(map(rate, rounds)),
                "texts/s": statistics.median(one["texts"] / one["seconds"] for one in rounds),
                "tokens/CPU s": statistics.median(one["tokens"] / one["cpu_s"] for one in rounds),
                "padding": statistics.median(1 - one["tokens"] / one["positions"] for one in rounds),
                "peak MB": round(statistics.median(one["bytes_peak"] for one in rounds) / 1e6),
                "of its own MB": round(statistics.median(map(own_bytes, rounds)) / 1e6),
                "adakron / this, tokens/s": faster,
                "adakron / this, own MB": smaller,
            }
        )
    return rows


def targets_of(rows: Sequence[Mapping[str, object]]) -> list[Target]:
    """Make the targets: twice the rate and half the memory of the usual and the best padded way, in the worst row."""

    def column(name: str, contestants: Sequence[str]) -> list[float]:
        return [float(str(row[name])) for row in rows if row["training"] in contestants]

    targets = []
    for what, contestants in (("the usual way", (USUAL,)), ("the best padded way", (USUAL, GROUPED, FIXED))):
        faster = min(column("adakron / this, tokens/s", contestants))
        smaller = max(column("adakron / this, own MB", contestants))
        targets.append(Target(f"tokens/s, times {what}, the least", faster, "at least", 2.0))
        targets.append(Target(f"memory, of {what}, the most", smaller, "at most", 0.5))
    return targets


def turns(names: Sequence[str], repeats: int) -> list[str]:
    """Each `repeats` times, there and back; what is padded to 128 once, in the first round."""
    rounds = [[name for name in names if name != FIXED or number == 0] for number in range(repeats)]
    return list(
        itertools.chain.from_iterable(one if number % 2 == 0 else one[::-1] for number, one in enumerate(rounds))
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["sst2", "mrpc", "mix"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[16, 32])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--words", type=int, default=12000, help="of a task's texts")
    parser.add_argument("--warmup", type=int, default=2, help="steps")
    parser.add_argument("--backbone", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=num_cores())
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    rows: list[dict[str, object]] = []
    with TemporaryDirectory() as temporary:
        for task in given.tasks:
            drawn = draw(task, given.words, max(given.batch_sizes))
            if len(drawn) // FIXED_SHARE <= given.warmup * max(given.batch_sizes):
                sys.exit(f"--words {given.words}: too few for steps after the warm-up; {task} gives {len(drawn)} texts")
            folders = {share: Path(temporary, f"{task} of {share}") for share in (1, FIXED_SHARE)}
            for share, folder in folders.items():
                write(folder, drawn[::share])
            for batch_size in given.batch_sizes:
                found: dict[str, list[Found]] = {name: [] for name in CONTESTANTS}
                for name in turns(list(CONTESTANTS), given.repeats):
                    setup = {
                        **CONTESTANTS[name],
                        "folder": str(folders[FIXED_SHARE if name == FIXED else 1]),
                        "batch_size": batch_size,
                        "warmup": given.warmup,
                        "backbone": given.backbone,
                        "device": given.device,
                        "dtype": given.dtype,
                    }
                    found[name].append(measure(setup))
                    print(f"{task}, batch {batch_size}, {name}: {rate(found[name][-1]):.0f} tokens/s", flush=True)
                rows += rows_of(task, batch_size, found)
    names = ("backbone", "device", "dtype", "threads", "words", "warmup", "repeats")
    notes = [
        f"full, 128 once, on every {FIXED_SHARE}th text.",
        "Own memory: the most from the start of reading data and weights to the end of the last step, beyond what the "
        "process had with its libraries loaded.",
    ]
    report("training", {name: getattr(given, name) for name in names}, rows, targets_of(rows), notes)


if __name__ == "__main__":
    main()
