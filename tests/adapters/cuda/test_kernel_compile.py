"""The kernels compile for an H100, on a machine without one, to what its hardware is good at."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.paths import ROOT

pytest.importorskip("triton", reason="Triton is not installed (it comes with the dev extra on Linux)")

H100_SHARED_BYTES = 227 * 1024  # that one program may have


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the output of tests/support/compile_kernels.py, run in a process without Triton's interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/support/compile_kernels.py")],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton")), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("shape", ["paper", "widest"])
@pytest.mark.parametrize("kind", ["bf16", "fp16", "fp32"])
def test_compiles_for_an_h100(compiled: dict[str, Any], kind: str, shape: str) -> None:
    """Both kernels fit shared memory and registers in each dtype; two-byte dtypes use tensor cores and wide copies."""
    kernels = compiled[f"{kind} {shape}"]
    for kernel in kernels.values():
        assert kernel["cubin_bytes"] > 0
        assert kernel["shared_bytes"] < H100_SHARED_BYTES
        assert kernel["uses_of_local_memory"] == 0
        assert kernel["16_byte_copies"] > 0
    adapters = kernels["adapters"]
    assert (adapters["tensor_core_products"] > 0) == (kind != "fp32")  # float32 is not rounded to TF32
    assert adapters["16_byte_copies"] > 10
    assert adapters["16_byte_stores"] > 0 or shape == "widest"
