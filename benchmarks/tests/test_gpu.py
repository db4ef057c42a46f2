"""`make gpu` as far as it goes without a GPU: every step's code with small numbers, and steps that fail."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed (it comes with the dev extra on Linux)")

from benchmarks.gpu.findings import Recorder, read_findings
from benchmarks.gpu.scale import Surroundings
from benchmarks.gpu.steps import STEPS, Step, run_step
from benchmarks.quote import markdown
from benchmarks.report import Target
from tests.support.paths import ROOT

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1800)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run every step once on the CPU, and return the process and its results."""
    file = tmp_path_factory.mktemp("gpu") / "gpu.json"
    finished = run("benchmarks.gpu", "--device", "cpu", "--small", "--results", str(file))
    return finished, json.loads(file.read_text())


def test_every_step_passes(done: tuple[subprocess.CompletedProcess[str], dict[str, Any]]) -> None:
    """All steps pass, the summary says so, and only targets of speed are missed."""
    finished, results = done
    assert [step["step"] for step in results["steps"]] == [step.name for step in STEPS]
    assert all(step["passed"] for step in results["steps"]), finished.stdout[-5000:] + finished.stderr[-5000:]
    assert finished.returncode == 0
    assert all(target["reached"] for target in results["targets"] if target["required"])
    assert [line.split()[0] for line in finished.stdout.splitlines()[-len(STEPS) :]] == ["passed"] * len(STEPS)


def test_the_results_are_tables_that_the_page_quotes(
    done: tuple[subprocess.CompletedProcess[str], dict[str, Any]],
) -> None:
    """Each measuring step has a table, with the engine's share of the products and requests a second among them."""
    tables = {table["title"]: table["rows"] for table in done[1]["tables"]}
    titles = {step.name: step.title for step in STEPS}
    assert set(tables) == {titles[name] for name in ("suite", "answers", "engine", "front_ends", "swap")}
    for row in tables[titles["engine"]]:
        assert row["engine of products"] > 0
    assert {row["engine"] for row in tables[titles["answers"]]} == {"loop", "kernels"}
    assert {row["texts a request"] for row in tables[titles["front_ends"]]} == {1, 32}
    page = markdown(done[1])
    assert all(f"**{title}**" in page for title in tables)
    assert "20000" in page


@without_gpu
@pytest.mark.parametrize("module", ["benchmarks.gpu", "benchmarks.gpu.environment"])
def test_says_in_one_line_that_there_is_no_gpu(module: str, tmp_path: Path) -> None:
    """Without a CUDA device the commands end at once, name the remedy, and write nothing."""
    target = ["--results", str(tmp_path / "gpu.json")] if module == "benchmarks.gpu" else [str(tmp_path / "venv")]
    finished = run(module, *target)
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert line.startswith(f"torch {torch.__version__} of {sys.executable} ")
    assert line.endswith("make gpu PYTHON=/path/to/python3")
    assert not list(tmp_path.iterdir())


def surroundings(folder: Path) -> Surroundings:
    return Surroundings("cpu", True, str(folder), "no such backbone")


def test_a_step_that_takes_too_long_keeps_its_findings(tmp_path: Path) -> None:
    """A step over its budget is ended, and fails with the rows that it had recorded; a half-written one is lost."""
    step = Step("engine", "a title", 0.1)
    Recorder(tmp_path / "engine.jsonl").row(tokens_s=1.0)
    with (tmp_path / "engine.jsonl").open("a") as file:
        file.write('{"rows": {"tok')
    result = run_step(step, surroundings(tmp_path), 100.0)
    assert result.fault == "did not end within 0 s"
    assert result.findings.rows == [{"tokens s": 1.0}]


def test_a_step_that_raises_fails(tmp_path: Path) -> None:
    """The error of a step is a fault of that step alone."""
    assert run_step(Step("tasks", "a title", 60.0), surroundings(tmp_path), 100.0).fault == "ended with status 1"


def test_no_step_begins_without_time(tmp_path: Path) -> None:
    """When the whole run's time is spent, the rest of the steps fail at once."""
    assert run_step(STEPS[0], surroundings(tmp_path), 0.0).fault == "no time was left"


def test_a_missed_target_fails_only_if_it_is_required(tmp_path: Path) -> None:
    """A target of speed is reported; a required one is a fault."""
    record = Recorder(tmp_path / "findings")
    record.target(Target("speed", 1.0, "at least", 2.0))
    assert read_findings(tmp_path / "findings").faults == []
    record.target(Target("wrong answers", 3, "at most", 0), required=True)
    assert read_findings(tmp_path / "findings").faults == ["wrong answers: 3"]


def test_the_budgets_fit_the_total() -> None:
    """A run of all steps ends within 8 minutes, the installation included."""
    from benchmarks.gpu.__main__ import TOTAL_S

    assert TOTAL_S <= 8 * 60 - 40
    assert max(step.budget_s for step in STEPS) < TOTAL_S / 3


@pytest.mark.parametrize(("device", "expected"), [("cpu", "float32"), ("cuda", "bfloat16")])
def test_the_servers_compute_in_the_type_of_the_tolerance(device: str, expected: str, tmp_path: Path) -> None:
    """Not in what `auto` finds: on a CPU with AMX that is bfloat16, whose answers the tolerance of float32 fails."""
    surroundings = Surroundings(device, True, str(tmp_path), "no such backbone")
    assert surroundings.server_settings["dtype"] == surroundings.dtype_name == expected
