"""`adakron doctor`: the GPU, its driver and the kernels' requirements; each check with and without a fault."""

from pathlib import Path
from typing import Any

import pytest

from service.doctor.gpu import gpu
from service.doctor.hardware import kernels
from tests.support.doctors import make_setup, write

pytestmark = pytest.mark.usefixtures("clean_environment")
GIB = 2**30


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", None)
    monkeypatch.setattr("shutil.which", lambda _: None)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("device", "driver", "status", "says"),
    [
        ("cpu", True, "ok", "not requested"),
        ("auto", False, "ok", "the CPU is used"),
        ("auto", True, "warning", "there is an NVIDIA driver, but torch"),
        ("cuda", False, "failed", "is built without CUDA"),
    ],
)
def test_no_gpu(tmp_path: Path, device: str, driver: bool, status: str, says: str) -> None:
    """Without a GPU the finding is ok, unless one is requested, or exists and is unused."""
    if driver:
        write(tmp_path, "proc/driver/nvidia/version", "NVRM version: 1\n")
    found = gpu(make_setup(tmp_path, device=device))
    assert found.status == status
    assert says in found.message


@pytest.mark.usefixtures("no_gpu")
def test_a_driver_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's message about an old driver is part of the finding."""
    import warnings

    def is_available() -> bool:
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old\n(found 11)", stacklevel=2)
        return False

    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", is_available)
    found = gpu(make_setup(tmp_path, device="cuda"))
    assert found.status == "failed"
    assert "CUDA 13.0: CUDA initialization: The NVIDIA driver on your system is too old" in found.message
    assert found.remedy.startswith("update the NVIDIA driver")


@pytest.mark.parametrize(
    ("changes", "settings", "status", "says"),
    [
        ({}, {}, "ok", "H100, compute capability 9.0, CUDA 13.0, 70.0 of 80.0 GiB free"),
        ({}, {"device": "cuda:1"}, "failed", "ADAKRON_DEVICE=cuda:1, but there are only 1"),
        ({"capability": (7, 5)}, {}, "warning", "attention runs by groups"),
        ({"bf16": False}, {}, "warning", "bfloat16 is only emulated"),
        ({"bf16": False}, {"dtype": "float16"}, "ok", "H100"),
        ({}, {"dtype": "float32"}, "warning", "neither CUDA graphs"),
        ({"triton": False}, {}, "failed", "which compiles the kernels, is missing"),
        ({"compiler": None}, {}, "failed", "needs a C compiler"),
        ({}, {"adapter_memory_bytes": "75GiB"}, "failed", "less GPU memory is free"),
    ],
)
def test_a_gpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    settings: dict[str, Any],
    status: str,
    says: str,
) -> None:
    """The kernels' requirements of a GPU and of the machine around it are checked."""
    has = {"capability": (9, 0), "bf16": True, "triton": True, "compiler": "/usr/bin/gcc"} | changes
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "H100")
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: has["capability"])
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (70 * GIB, 80 * GIB))
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: has["bf16"])
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("service.doctor.gpu.find_spec", lambda _: has["triton"] or None)
    monkeypatch.setattr("shutil.which", lambda _: has["compiler"])
    setup = make_setup(tmp_path, **settings)
    found = gpu(setup)
    assert found.status == status
    assert says in found.message
    assert kernels(setup).message == "not needed: the GPU is used"
