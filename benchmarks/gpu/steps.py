"""The steps of a run, each in a process of its own with a time budget."""

import importlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gpu.findings import Findings, Recorder, read_findings
from benchmarks.gpu.scale import Surroundings


@dataclass(frozen=True)
class Step:
    """A function of a module of this package."""

    name: str
    title: str
    budget_s: float  # of a full run
    function: str = "run"
    module: str = ""  # by default the name


STEPS = (
    Step("suite", "The tests of the GPU path", 130),
    Step("answers", "Answers against float32 on the CPU", 50),
    Step("engine", "The engine alone against the bare matrix products", 115),
    Step("tasks", "Tasks for the servers", 50, function="publish", module="front_ends"),
    Step("front_ends", "Requests through HTTP", 100),
    Step("swap", "New versions and moved aliases under load", 70),
)
END_S = 5.0  # that a step has after its budget to end its own processes
PATIENCE = 4  # of a small run, times the budget: it may be a test on a machine that is busy
POLL_S = 0.05
LOG_CHARACTERS = 4000


@dataclass
class StepResult:
    """The outcome of a step."""

    step: Step
    seconds: float
    fault: str | None  # why it failed; None if it passed
    findings: Findings = field(default_factory=Findings)


def run_step(step: Step, surroundings: Surroundings, time_left_s: float) -> StepResult:
    """Run a step in its process, for at most its budget and the time left; what it has found is kept in any case."""
    file = Path(surroundings.folder) / f"{step.name}.jsonl"
    limit_s = min(step.budget_s * (PATIENCE if surroundings.small else 1), time_left_s)
    if limit_s <= 0:
        return StepResult(step, 0.0, "no time was left")
    environment = dict(os.environ)
    if surroundings.device == "cpu":
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "benchmarks.gpu.steps", step.name, surroundings.to_json(), str(file)]
    started, started_at = time.monotonic(), time.time()
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        status = process.wait(limit_s)
        fault = None if status == 0 else f"ended with status {status}"
    except subprocess.TimeoutExpired:
        fault = f"did not end within {limit_s:.0f} s"
    finally:
        _end_group(process)
    findings = read_findings(file)
    log = surroundings.data_folder / "log"
    if fault is not None and log.exists() and log.stat().st_mtime > started_at:
        print(f"the server's log ends with:\n{log.read_text()[-LOG_CHARACTERS:]}", flush=True)
    if fault is None and findings.faults:
        fault = "; ".join(findings.faults)
    return StepResult(step, time.monotonic() - started, fault, findings)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the step's process and those that it has started, the servers among them."""
    deadline = time.monotonic() + END_S
    try:
        os.killpg(process.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            process.poll()  # reaps it, so that its group can become empty
            os.killpg(process.pid, 0)
            time.sleep(POLL_S)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # all have ended
        pass
    process.wait()


def main(name: str, surroundings: str, file: str) -> None:
    """Run one step in this process."""
    step = next(step for step in STEPS if step.name == name)
    module = importlib.import_module(f"benchmarks.gpu.{step.module or step.name}")
    getattr(module, step.function)(Surroundings.from_json(surroundings), Recorder(Path(file)))


if __name__ == "__main__":
    main(*sys.argv[1:])
