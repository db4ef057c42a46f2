"""Benchmarks by name: `make bench`, README.md and the results agree."""

import importlib
import json
import re
import subprocess
import sys

import pytest

from benchmarks.__main__ import NAMES, main
from benchmarks.quote import PAGE
from tests.support.paths import ROOT


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_a_benchmark_that_the_readme_explains(name: str) -> None:
    """The module exists, can be run, and has its row in benchmarks/README.md."""
    module = NAMES[name] if name != "peers" else "benchmarks.peers.__main__"
    assert callable(importlib.import_module(module).main)
    assert f"\n| `{name}` |" in (ROOT / "benchmarks" / "README.md").read_text()


def test_make_runs_known_names_and_every_quoted_result() -> None:
    """The default of `make bench` has no unknown name, and measures everything that docs/performance.md quotes."""
    match = re.search(r"^BENCHMARKS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert match is not None
    names = set(match.group(1).split())
    assert names == set(NAMES)
    assert set(re.findall(r"<!-- (\w+) -->", PAGE.read_text())) <= names | {"gpu"}  # make gpu measures that


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is run; the message lists the names that there are."""
    with pytest.raises(SystemExit) as exit_:
        main(["kernels", "speed"])
    assert exit_.value.code == 2
    assert "no benchmark is called speed; there are roofline" in capsys.readouterr().err


def test_a_failure_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name is run; the ones that failed are named at the end."""
    ran: list[str] = []

    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[bytes]:
        assert command[:2] == [sys.executable, "-m"]
        ran.append(command[2])
        return subprocess.CompletedProcess(command, len(ran) == 1)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SystemExit, match="failed: kernels"):
        main(["kernels", "service"])
    assert ran == [NAMES["kernels"], NAMES["service"]]


def test_results_are_json() -> None:
    """Every committed result can be read."""
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        json.loads(path.read_text())
