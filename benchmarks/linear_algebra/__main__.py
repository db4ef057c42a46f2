"""Which library computes the backbone's dense layers fastest on the CPU, as a share of plain products.

One process for each size and number of threads; contenders by turns, T changing from call to call, medians. One that is
not installed is named and left out: benchmarks/linear_algebra_requirements.txt has what the project itself lacks.

    python -m benchmarks.linear_algebra [--lock FILE] [--only WORD]

With a lock only one process on the machine measures at a time, before all ordinary ones. Writes
benchmarks/results/linear_algebra.json.
"""

import argparse
import contextlib
import importlib.metadata
import json
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch

from benchmarks.linear_algebra.attention import measure_attention
from benchmarks.linear_algebra.dense import measure_dense

RESULTS = Path(__file__).parents[1] / "results" / "linear_algebra.json"
BUDGET_S = 45.0
DENSE = {  # hidden, layers, numbers of rows, threads; of BERT-base three of its twelve layers, 85 MB
    "dense, H=384, 2 threads": (384, 6, (32, 128, 512, 1024, 2048, 4096), 2),
    "dense, H=384, 1 thread": (384, 6, (32, 128, 512, 1024, 2048), 1),
    "dense, H=768, 2 threads": (768, 3, (32, 128, 512, 1024, 2048), 2),
    "dense, H=768, 1 thread": (768, 3, (32, 128, 512, 1024), 1),
}
ATTENTION = {  # hidden, heads, threads
    "attention, H=384, 2 threads": (384, 12, 2),
    "attention, H=384, 1 thread": (384, 12, 1),
    "attention, H=768, 2 threads": (768, 12, 2),
    "attention, H=768, 1 thread": (768, 12, 1),
}
DISTRIBUTIONS = ("torch", "numpy", "onnxruntime", "openvino", "onnx")


def show_dense(case: dict) -> None:
    """A line a contender: share of plain products' speed by T."""
    rows = list(next(iter(case["contenders"].values()))["ms"])
    print(
        f"{'':34}"
        + "".join(f"{'T=' + row:>8}" for row in rows)
        + "  new T ms  start s     MiB    error  rows differ at"
    )
    for name, result in case["contenders"].items():
        shares = "".join(f"{result['fraction'][row]:8.2f}" for row in rows)
        print(
            f"{name:34}{shares}{result['first_call_ms']:10.2f}{result['start_s']:9.2f}{result['memory_mib']:8.0f}"
            f"{result.get('max_error', 0):9.0e}  {result.get('rows_differ_at', '')}"
        )


def show_attention(case: dict) -> None:
    """A line a contender."""
    for name, result in case["contenders"].items():
        print(f"{name:52}{result['ms']:8.2f} ms a layer   {result['fraction']:.2f} of the speed of equal lengths")


def machine() -> dict[str, object]:
    """What was measured on."""
    versions = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "versions": versions,
    }


def measure(name: str, options: argparse.Namespace) -> None:
    """One case, in this process, into the results."""
    if name in DENSE:
        hidden, num_layers, rows, num_threads = DENSE[name]
        case = measure_dense(hidden, num_layers, rows, num_threads, BUDGET_S, options.lock, options.without)
    else:
        case = measure_attention(*ATTENTION[name], BUDGET_S / 2, options.lock)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(known | {name: case | machine()}, indent=1) + "\n")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", type=Path, help="held while measuring, at a high priority")
    parser.add_argument("--only", default="", help="the cases whose name has this in it")
    parser.add_argument(
        "--without", nargs="*", default=[], help="leave out contenders whose name has one of these in it"
    )
    parser.add_argument("--case", choices=[*DENSE, *ATTENTION], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        measure(options.case, options)
        return
    for name in (name for name in [*DENSE, *ATTENTION] if options.only in name):
        subprocess.run([sys.executable, "-m", "benchmarks.linear_algebra", "--case", name, *sys.argv[1:]], check=True)
        case = json.loads(RESULTS.read_text())[name]
        print(f"\n{name}")
        (show_dense if name in DENSE else show_attention)(case)


if __name__ == "__main__":
    main()
