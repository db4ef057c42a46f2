"""adakron-client: the client as a distribution of its own, without the server's."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from adapters.backbone.source import LoadedBackbone
from tests.support.factories import make_adapter_bytes
from tests.support.paths import ROOT
from tests.support.serving import KEY, listening

FOLDER = ROOT / "service" / "client"
PROGRAM = """
import sys


class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("service", "adapters", "torch", "fastapi", "starlette", "pydantic", "numpy"):
            raise AssertionError(f"adakron_client imports {name}")


sys.meta_path.insert(0, Guard())
sys.path += [sys.argv[1], sys.argv[2]]
import asyncio

import adakron_client

url, key, file = sys.argv[3:]
with adakron_client.AdaKronClient(url, key) as client, open(file, "rb") as adapter:
    print(client.admin.upload("t", adapter.read()).live, client.predict("t", "a good film").predictions[0].label)


async def predict():
    async with adakron_client.AsyncAdaKronClient(url, key) as client:
        return await client.predict("t", "a good film")


print(asyncio.run(predict()).version)
"""


def requirements(name: str) -> Iterator[str]:
    """The names of a distribution and of all that it needs here."""
    yield name
    for needed in map(Requirement, distribution(name).requires or ()):
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield from requirements(needed.name)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel of adakron-client, built offline."""
    pytest.importorskip("hatchling", reason="hatchling, of the extra dev, builds the wheel")
    program = f"from hatchling.build import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=FOLDER, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("adakron_client-*.whl")
    return wheel


def test_it_works_alone(wheel: Path, tiny: LoadedBackbone, tmp_path: Path) -> None:
    """With httpx as its only neighbour the installed client uploads and predicts; nothing of the server is imported."""
    neighbours = tmp_path / "neighbours"
    neighbours.mkdir()
    for name in {*requirements("httpx")}:
        for file in distribution(name).files or ():
            place = neighbours / file.parts[0]
            if file.parts[0] != ".." and not place.exists():
                place.symlink_to(str(distribution(name).locate_file(file.parts[0])))
    (tmp_path / "adapter").write_bytes(make_adapter_bytes(identity=tiny.identity, labels=("x", "y")))
    with listening(tiny, tmp_path / "data") as server:
        arguments = (wheel, neighbours, f"http://127.0.0.1:{server.port}", KEY, tmp_path / "adapter")
        command = [sys.executable, "-I", "-S", "-W", "error", "-c", PROGRAM, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"True [xy]\n1\n", done.stdout)


def test_it_needs_httpx_only(wheel: Path) -> None:
    """The wheel holds the modules of service/client, their types and no other file, and requires only httpx."""
    with ZipFile(wheel) as content:
        names = {name for name in content.namelist() if ".dist-info" not in name}
        metadata = next(content.read(name).decode() for name in content.namelist() if name.endswith("/METADATA"))
    assert names == {f"adakron_client/{file.name}" for file in [*FOLDER.glob("*.py"), FOLDER / "py.typed"]}
    assert re.findall("^Requires-Dist: (.*)", metadata, re.MULTILINE) == ["httpx>=0.28"]


def test_it_has_the_version_of_the_server() -> None:
    """Both distributions are released together."""
    projects = [tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in (ROOT, FOLDER)]
    assert len({(project["version"], project["license"], project["requires-python"]) for project in projects}) == 1
