"""The tests of the GPU path: kernels compiled, graphs captured, answers equal to the reference."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from benchmarks.gpu.findings import Recorder
from benchmarks.gpu.scale import Surroundings
from benchmarks.report import Target

ROOT = Path(__file__).parents[2]
MAX_SHOWN = 20


def run(surroundings: Surroundings, record: Recorder) -> None:
    """Run pytest, and record the tests by file and outcome."""
    scale, report = surroundings.scale, Path(surroundings.folder) / "tests.xml"
    options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}", "-o", "junit_family=xunit1"]
    if scale.test_processes:
        options += ["--numprocesses", str(scale.test_processes), "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", *options, *scale.tests]
    done = subprocess.run(command, cwd=ROOT, check=False)
    outcomes = read_outcomes(report)
    for file, counts in outcomes.items():
        record.row(tests=file, passed=counts["passed"], failed=counts["failed"], skipped=counts["skipped"])
    for name in failed_tests(report)[:MAX_SHOWN]:
        record.note(f"Failed: {name}")
    num_failed = sum(counts["failed"] for counts in outcomes.values())
    record.target(Target("failed tests", num_failed, "at most", 0), required=True)
    num_passed = sum(counts["passed"] for counts in outcomes.values())
    record.target(Target("tests that passed", num_passed, "at least", 1), required=True)
    record.target(Target("status of pytest", done.returncode, "at most", 0), required=True)


def read_outcomes(report: Path) -> dict[str, dict[str, int]]:
    """Count the tests of each file of a JUnit report by outcome."""
    found: dict[str, dict[str, int]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        file = case.get("file") or case.get("classname") or ""
        counts = found.setdefault(Path(file).name, {"passed": 0, "failed": 0, "skipped": 0})
        counts[_outcome(case)] += 1
    return dict(sorted(found.items()))


def failed_tests(report: Path) -> list[str]:
    """Return the names of the failed tests, with the first line of each message."""
    found = []
    for case in ElementTree.parse(report).iter("testcase"):
        for fault in (*case.iter("failure"), *case.iter("error")):
            first = (fault.get("message") or "").splitlines() or [""]
            found.append(f"{case.get('classname')}::{case.get('name')}: {first[0][:200]}")
    return found


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "passed" if case.find("skipped") is None else "skipped"
