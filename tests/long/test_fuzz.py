"""One minute of coverage-guided fuzzing."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.long.bases import IDENTITY, base_files
from tests.long.conftest import Record
from tests.support.paths import ROOT
from tests.support.refused_files import refused_files

SECONDS = 60
MAX_FILE_BYTES = 8192  # larger inputs are slower without finding more


def test_fuzzing_finds_nothing(is_long: bool, record: Record, tmp_path: Path) -> None:
    """libFuzzer, guided by the coverage of `adapters`, finds no file that crashes, hangs or is misread."""
    if not is_long:
        pytest.skip(f"takes {SECONDS} s: run with --long")
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install -e '.[fuzz]'")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    seeds = [*base_files(), *(file.make() for file in refused_files(IDENTITY).values())]
    for number, data in enumerate(seeds):
        if len(data) <= MAX_FILE_BYTES:
            (corpus / f"seed-{number}").write_bytes(data)
    options = {
        "max_total_time": SECONDS,
        "max_len": MAX_FILE_BYTES,
        "timeout": 5,
        "rss_limit_mb": 2048,
        "seed": 1,
        "print_final_stats": 1,
        "artifact_prefix": f"{tmp_path}/found-",
    }
    run = subprocess.run(
        [sys.executable, "-m", "tests.long.fuzz_checkpoint", corpus, *(f"-{k}={v}" for k, v in options.items())],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=5 * SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-5000:]
    assert not list(tmp_path.glob("found-*"))
    executions = int(re.findall(r"stat::number_of_executed_units:\s+(\d+)", run.stderr)[-1])
    edges, features = map(int, re.findall(r"cov: (\d+) ft: (\d+)", run.stderr)[-1])
    assert executions > 1000
    record(cases=executions, edges=edges, features=features)
