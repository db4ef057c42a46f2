"""Prove the GPU path on this machine, within 8 minutes: tests, answers, engine, HTTP, swaps.

    make gpu
    python -m benchmarks.gpu [--steps tasks swap] [--device cpu --small] [--results FILE]

Every step has a time budget and its own process. The results are written after each step, so that a later failure
loses nothing; a failed step does not stop the others. Ends with status 1 if a step failed. Writes
benchmarks/results/gpu.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from adapters.config import DEFAULT_BACKBONE
from benchmarks.gpu.environment import DEVICES, find_fault
from benchmarks.gpu.scale import Surroundings, has_default_backbone
from benchmarks.gpu.steps import PATIENCE, STEPS, StepResult, run_step
from benchmarks.report import RESULTS, machine, print_table
from tests.support.tiny import make_like_default, make_tiny_backbone

TOTAL_S = 440.0  # of all steps; with the installation 8 minutes
IN_MEMORY = Path("/dev/shm")  # the registry of 4,096 tasks has 1.3 GB; its disk is not what is measured
REGISTRY_BYTES = 8 << 30
PACKAGES = ("adakron-serve", "torch", "triton", "uvicorn", "fastapi")


def describe_gpu() -> dict[str, object]:
    """Name the first GPU, its memory, CUDA and the driver; empty without one."""
    if not torch.cuda.is_available():
        return {}
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    found = shutil.which(command[0]) and subprocess.run(command, capture_output=True, text=True, check=False)
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "gpu_memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "driver": (found and found.stdout.strip()) or "unknown",
    }


def summarize(results: Sequence[StepResult], surroundings: Surroundings) -> dict[str, Any]:
    """Return the results so far as JSON, in the form that benchmarks/quote.py reads."""
    return {
        "machine": machine() | describe_gpu(),
        "date": date.today().isoformat(),
        "versions": {package: version(package) for package in PACKAGES},
        "settings": {"device": surroundings.device, "torch": torch.__version__, "triton": version("triton")},
        "steps": [
            {"step": one.step.name, "passed": one.fault is None, "seconds": round(one.seconds, 1), "fault": one.fault}
            for one in results
        ],
        "tables": [{"title": one.step.title, "rows": one.findings.rows} for one in results if one.findings.rows],
        "targets": [target for one in results for target in one.findings.targets],
        "notes": [note for one in results for note in one.findings.notes],
    }


def print_summary(results: Sequence[StepResult]) -> None:
    """Print the tables, the targets, and whether each step passed."""
    for one in results:
        print(f"\n== {one.step.title}")
        if one.findings.rows:
            print_table(one.findings.rows)
        for note in one.findings.notes:
            print(note)
        for target in one.findings.targets:
            verdict = "reached" if target["reached"] else "MISSED"
            print(f"{verdict}: {target['claim']}: {target['value']} (target {target['target']})")
    print()
    for one in results:
        verdict = "passed" if one.fault is None else "FAILED"
        print(f"{verdict}  {one.step.name:<12} {one.seconds:>6.1f} s  {one.fault or ''}".rstrip())


def choose_folder() -> str | None:
    """Return where temporary files go: into memory if there is room, else None for the default."""
    try:
        free = shutil.disk_usage(IN_MEMORY).free
    except OSError:
        return None
    return str(IN_MEMORY) if free > REGISTRY_BYTES else None


def main() -> None:
    """Run the steps, write and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [step.name for step in STEPS]
    parser.add_argument("--steps", nargs="*", choices=names, default=names, metavar="STEP", help=", ".join(names))
    parser.add_argument("--device", choices=DEVICES, default=DEVICES[0])
    parser.add_argument("--small", action="store_true", help="small numbers: a test of this program")
    parser.add_argument("--results", type=Path, default=RESULTS / "gpu.json")
    given = parser.parse_args()
    if fault := find_fault(given.device):
        sys.exit(fault)
    results: list[StepResult] = []
    end = time.monotonic() + TOTAL_S * (PATIENCE if given.small else 1)
    with tempfile.TemporaryDirectory(dir=choose_folder()) as folder:
        backbone, random_folder = DEFAULT_BACKBONE, Path(folder) / "random-bert"
        if given.small:
            backbone = str(make_tiny_backbone(random_folder))
        elif not has_default_backbone():
            print("The default backbone's package is not installed: a random BERT of its shape takes its place.")
            backbone = str(make_like_default(random_folder))
        surroundings = Surroundings(given.device, given.small, folder, backbone)
        for step in STEPS:
            if step.name in given.steps:
                print(f"== {step.name}: {step.title}", flush=True)
                results.append(run_step(step, surroundings, end - time.monotonic()))
                given.results.parent.mkdir(parents=True, exist_ok=True)
                given.results.write_text(json.dumps(summarize(results, surroundings), indent=2) + "\n")
    print_summary(results)
    if any(one.fault for one in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
