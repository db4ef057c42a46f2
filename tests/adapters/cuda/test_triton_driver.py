"""docker/triton.sh: Triton's launcher is compiled when the image is built, and Triton takes it for its own work."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.paths import ROOT

triton = pytest.importorskip("triton")

LOAD = """
from triton.backends.nvidia.driver import CudaUtils
utils = CudaUtils()
print(callable(utils.launch), callable(utils.load_binary))
"""

pytestmark = [
    pytest.mark.skipif(
        tuple(map(int, triton.__version__.split(".")[:2])) < (3, 7),
        reason="Triton before 3.7 compiles a launcher for each kernel, and the image has a later one",
    ),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc"),
    pytest.mark.skipif(not Path(sysconfig.get_paths()["include"], "Python.h").is_file(), reason="no Python.h"),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but Triton, and what docker/triton.sh puts into it."""
    environment = tmp_path_factory.mktemp("venv")
    packages = environment / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (environment / "bin").mkdir()
    (packages / "triton").symlink_to(Path(triton.__file__).parent)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["sh", ROOT / "docker" / "triton.sh", environment], check=True, env=os.environ | {"PATH": path})
    return environment


def _driver(folder: Path, module: Path) -> None:
    """A libcuda.so.1 with every function that the module asks for, and nothing in them."""
    undefined = subprocess.run(["nm", "-D", "--undefined-only", module], check=True, capture_output=True, text=True)
    names = [name for name in undefined.stdout.split() if name.startswith("cu")]
    assert names
    source = "".join(f"int {name}(void) {{ return 0; }}\n" for name in names)
    (folder / "driver.c").write_text(source)
    command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "driver.c", "-o", "libcuda.so.1"]
    subprocess.run(command, cwd=folder, check=True)


def test_triton_takes_what_was_compiled(environment: Path, tmp_path: Path) -> None:
    """Triton compiles its launcher with triton-cc, loads it and keeps it in its cache."""
    module = environment / "lib" / "triton-driver.so"
    _driver(tmp_path, module)
    variables = {
        "CC": str(environment / "bin" / "triton-cc"),
        "TRITON_CACHE_DIR": str(tmp_path / "cache"),
        "TRITON_LIBCUDA_PATH": str(tmp_path),
        "LD_LIBRARY_PATH": str(tmp_path),
    }
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD], env=os.environ | variables, check=False, capture_output=True, text=True
    )
    assert loaded.stdout.split() == ["True", "True"], loaded.stderr
    (cached,) = (tmp_path / "cache").glob("*/cuda_utils*.so")
    assert cached.read_bytes() == module.read_bytes()


def test_nothing_is_done_without_triton(tmp_path: Path) -> None:
    """An environment for CPUs stays as it is."""
    (tmp_path / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    subprocess.run(["sh", ROOT / "docker" / "triton.sh", tmp_path], check=True)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
