"""`adakron doctor`: Python, settings, backbone, CPU and memory; each check with and without a fault."""

import resource
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from adapters.backbone import native, quantized
from service.doctor import installation
from service.doctor.core import Setup
from service.doctor.hardware import kernels, memory, open_files, threads
from service.doctor.installation import backbone, settings
from service.settings import read_settings
from tests.support.doctors import make_setup, write

pytestmark = pytest.mark.usefixtures("clean_environment")
GIB = 2**30


def test_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supported Python is ok; for an old one the finding names the required version."""
    assert installation.python(make_setup(tmp_path)).status == "ok"
    monkeypatch.setattr(installation.sys, "version_info", (3, 9, 1, "final", 0))
    found = installation.python(make_setup(tmp_path))
    assert found.status == "failed"
    assert "Python 3.9.1; adakron-serve needs >=3.11" in found.message


def test_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing and old libraries are listed with a pip command that installs them; extras are ignored."""
    assert installation.libraries(make_setup(tmp_path)).status == "ok"
    needed = ["torch>=99", "no-such-package>=1", "rich", "nothing>=1; extra == 'train'"]
    monkeypatch.setattr(installation, "requires", lambda _: needed)
    found = installation.libraries(make_setup(tmp_path))
    assert found.status == "failed"
    assert found.message == f"torch is {torch.__version__}; no-such-package is missing"
    assert found.remedy == "pip install 'torch>=99' 'no-such-package>=1'"


def test_settings(tmp_path: Path) -> None:
    """An invalid value fails; an unknown name fails and names the closest setting."""
    good = {"ADAKRON_PORT": "8000", "ADAKRON_URL": "http://x", "ADAKRON_ADMIN_PORT": "", "PATH": "x"}
    found = settings(make_setup(tmp_path, environment=good))
    assert found.status == "ok"
    assert found.message.startswith("1 of ")
    assert found.message.endswith(" are set: ADAKRON_PORT")
    bad = {"ADAKRON_NUM_THREAD": "2", "ADAKRON_PORT": "tcp://10.1.2.3:80", "ADAKRON_MAX_INPUTS": "0"}
    reading = read_settings({}, bad)
    found = settings(Setup(reading.settings, reading.problems, bad))
    assert found.status == "failed"
    assert found.message.startswith(
        "ADAKRON_NUM_THREAD: no setting has this name; did you mean ADAKRON_ENGINE_THREADS?"
    )
    assert "ADAKRON_MAX_INPUTS: Input should be greater than or equal to 1 (it is '0')" in found.message
    assert "ADAKRON_PORT: ignored, since Kubernetes sets" in found.message
    links = {"ADAKRON_PORT": "tcp://10.1.2.3:80"}
    assert settings(Setup(reading.settings, (), links)).status == "warning"


def test_backbone(tmp_path: Path, tiny_folder: Path) -> None:
    """A backbone is reported with its digests; a folder without one fails."""
    found = backbone(make_setup(tmp_path, backbone=str(tiny_folder)))
    assert found.status == "ok"
    assert "2 layers of 32, weights " in found.message
    broken = backbone(make_setup(tmp_path, backbone=str(tmp_path)))
    assert broken.status == "failed"
    assert "has no config.json" in broken.message


def test_a_tokenizer_that_cannot_be_read(tmp_path: Path, tiny_folder: Path) -> None:
    """All files of the backbone are parsed, except the weights, which are hashed."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_folder / name).read_bytes())
    (tmp_path / "tokenizer.json").write_text("{}")
    found = backbone(make_setup(tmp_path, backbone=str(tmp_path)))
    assert found.status == "failed"
    assert "tokenizer.json cannot be used" in found.message


@pytest.mark.parametrize(("offline", "status"), [(True, "failed"), (False, "warning")])
def test_a_backbone_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool, status: str) -> None:
    """A missing backbone is downloaded at the first start, unless the Hub is off; the doctor downloads nothing."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    found = backbone(make_setup(tmp_path, backbone="google-bert/bert-base-uncased"))
    assert found.status == status
    assert "google-bert/bert-base-uncased is not on this machine" in found.message
    assert "hf download google-bert/bert-base-uncased" in found.remedy
    assert list(tmp_path.iterdir()) == []


def test_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without compiled kernels the finding is a warning, and the remedy a compiler."""
    monkeypatch.setattr(native, "library", lambda: None)
    found = kernels(make_setup(tmp_path))
    assert found.status == "warning"
    assert "hatch_build.py" in found.remedy

    class Library:
        def adakron_width(self, dtype: int, row: int) -> int:
            return 8 * (1 + dtype)

    monkeypatch.setattr(native, "library", Library)
    found = kernels(make_setup(tmp_path, dtype="float32", device="cpu"))
    assert found.message == "compiled kernels, with vectors of 8 numbers in float32 (ADAKRON_DTYPE=float32)"
    found = kernels(make_setup(tmp_path, dtype="bfloat16", device="cpu"))
    assert found.message == "compiled kernels, with vectors of 16 numbers in bfloat16 (ADAKRON_DTYPE=bfloat16)"
    assert kernels(make_setup(tmp_path, dtype="float16", device="cpu")).status == "warning"


def test_int8_needs_a_processor_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ADAKRON_DTYPE=int8 the finding is a failure where a server would refuse to start, with the reason."""
    setup = make_setup(tmp_path, dtype="int8", device="cpu")
    monkeypatch.setattr(quantized, "why_not_int8", lambda device: None)
    monkeypatch.setattr(quantized, "int8_lanes", lambda: 16)
    monkeypatch.setattr(quantized, "int8_tiles", lambda: True)
    found = kernels(setup)
    assert (found.status, found.remedy) == ("warning", "set ADAKRON_DTYPE=auto")
    assert "int8 products with AMX, but on a CPU with AMX, bfloat16 computes more" in found.message
    monkeypatch.setattr(quantized, "int8_tiles", lambda: False)
    assert kernels(setup).message == "compiled kernels, int8 products with vectors of 16 numbers"
    monkeypatch.setattr(quantized, "why_not_int8", lambda device: f"no kernel on {device}")
    found = kernels(setup)
    assert (found.status, found.remedy) == ("failed", "set ADAKRON_DTYPE=auto")
    assert found.message == "ADAKRON_DTYPE=int8, but no kernel on cpu"


@pytest.mark.parametrize(
    ("chosen", "quota", "environment", "status", "remedy"),
    [
        (0, None, {}, "ok", ""),
        (0, "150000 100000", {}, "ok", ""),
        (2, "150000 100000", {}, "warning", "set ADAKRON_ENGINE_THREADS=1"),
        (2, "50000 100000", {}, "warning", "set ADAKRON_ENGINE_THREADS=1"),
        (1, "150000 100000", {}, "ok", ""),
        (0, "max 100000", {}, "ok", ""),
        (9, None, {}, "warning", "set ADAKRON_ENGINE_THREADS=4"),
        (0, None, {"OMP_NUM_THREADS": "2"}, "warning", "set ADAKRON_ENGINE_THREADS=2"),
        (4, None, {"OMP_NUM_THREADS": "2"}, "ok", ""),
    ],
)
def test_threads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: int,
    quota: str | None,
    environment: dict[str, str],
    status: str,
    remedy: str,
) -> None:
    """On four cores: threads beyond cores or quota are a warning, and so is OMP_NUM_THREADS."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    if quota is not None:
        write(tmp_path, "proc/self/cgroup", "0::/\n")
        write(tmp_path, "sys/fs/cgroup/cpu.max", quota)
    found = threads(make_setup(tmp_path, engine_threads=chosen, environment=environment))
    assert (found.status, found.remedy) == (status, remedy)


@pytest.mark.parametrize(
    ("total_gib", "available_gib", "limit_gib", "status", "says"),
    [
        (16, 8, None, "ok", "the machine has 16.0"),
        (16, 8, 4, "ok", "the container may use 4.0"),
        (16, 8, 1.5, "warning", "the container may use 1.5"),
        (16, 8, 0.4, "failed", "the container may use 0.4"),
        (16, 0.25, None, "warning", "of which 0.2 are available now"),
    ],
)
def test_memory(
    tmp_path: Path, total_gib: float, available_gib: float, limit_gib: float | None, status: str, says: str
) -> None:
    """The memory that a server needs is compared with the machine and the container's limit."""
    total, available = int(total_gib * GIB / 1024), int(available_gib * GIB / 1024)
    write(tmp_path, "proc/meminfo", f"MemTotal: {total} kB\nMemAvailable: {available} kB\n")
    if limit_gib is not None:
        write(tmp_path, "proc/self/cgroup", "0::/\n")
        write(tmp_path, "sys/fs/cgroup/memory.max", str(int(limit_gib * GIB)))
    found = memory(make_setup(tmp_path, device="cpu"))
    assert found.status == status
    assert says in found.message


@pytest.mark.parametrize(
    ("soft", "hard", "status", "remedy"),
    [
        (1024, 4096, "warning", "ulimit -n 4096"),
        (1024, resource.RLIM_INFINITY, "warning", "ulimit -n 65536"),
        (65536, 65536, "ok", ""),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, "ok", ""),
    ],
)
def test_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, status: str, remedy: str
) -> None:
    """The limit of open files must exceed the requests that may be queued."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (soft, hard))
    found = open_files(make_setup(tmp_path))
    assert found.status == status
    assert remedy in found.remedy
