"""The examples of docs/clients.md work as they stand."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.source import LoadedBackbone
from tests.factories import make_adapter_bytes
from tests.serving import UPLOAD, listening

PAGE = (Path(__file__).parents[1] / "docs/clients.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def port(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with listening(tiny, tmp_path_factory.mktemp("data")) as server:
        for task in ("sst2", "cola"):
            for seed in range(3):
                data = make_adapter_bytes(identity=tiny.identity, seed=seed)
                assert server.request("POST", f"/admin/v1/tasks/{task}/versions", UPLOAD, data)[0] == 201
        yield server.port


@pytest.mark.parametrize("code", blocks("python"))
def test_python(code: str, port: int) -> None:
    """Each block runs, and whatever it asserts is so."""
    exec(compile(code.replace(":8000", f":{port}"), "docs/clients.md", "exec"), {})


@pytest.mark.parametrize("command", blocks("bash"))
def test_curl(command: str, port: int) -> None:
    """Each command is answered with 200."""
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    given = command.replace(":8000", f":{port}").replace("curl ", "curl -sS --fail-with-body ", 1)
    done = subprocess.run(["bash", "-c", given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
