"""The examples of docs/clients.md, and those of /docs for the same protocols, work as they stand."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.backbone.source import LoadedBackbone
from service import client as client_package
from service.api.predict.examples import MANY_REQUESTS
from service.api.protocols.examples import CLASSIFY_REQUESTS, INFER_REQUESTS, TEI_REQUESTS
from tests.support.factories import make_adapter_bytes, make_gated_bytes
from tests.support.paths import ROOT
from tests.support.serving import UPLOAD, Listening, listening

PAGE = (ROOT / "docs/clients.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def port(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with listening(tiny, tmp_path_factory.mktemp("data")) as server:
        for task in ("sst2", "cola"):
            for seed in range(3):
                data = make_adapter_bytes(identity=tiny.identity, seed=seed)
                assert server.request("POST", f"/admin/v1/tasks/{task}/versions", UPLOAD, data)[0] == 201
        data = make_adapter_bytes(identity=tiny.identity, pair=True)
        assert server.request("POST", "/admin/v1/tasks/mrpc/versions", UPLOAD, data)[0] == 201
        data = make_gated_bytes(identity=tiny.identity, keys=["u17", "u18"])
        assert server.request("POST", "/admin/v1/tasks/mood/versions", UPLOAD, data)[0] == 201
        yield server.port


@pytest.fixture(autouse=True)
def adakron_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the distribution `adakron-client` is service.client."""
    monkeypatch.setitem(sys.modules, "adakron_client", client_package)


@pytest.mark.parametrize("code", [block for block in blocks("python") if ".admin" not in block])
def test_python(code: str, port: int) -> None:
    """Each block runs, whatever it asserts is so, and it was this server that answered it."""
    before = num_answered(port)
    exec(compile(code.replace(":8000", f":{port}"), "docs/clients.md", "exec"), {})
    assert num_answered(port) > before


def test_administration(port: int, tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block on administration publishes a version, moves aliases and makes a key."""
    (code,) = (block for block in blocks("python") if ".admin" in block)
    server = Listening(port)
    for seed in range(3):
        data = make_adapter_bytes(identity=tiny.identity, seed=seed)
        assert server.request("POST", "/admin/v1/tasks/tickets/versions", UPLOAD, data)[0] == 201
    (tmp_path / "adapter.safetensors").write_bytes(make_adapter_bytes(identity=tiny.identity, seed=3))
    monkeypatch.chdir(tmp_path)
    key = UPLOAD["Authorization"].removeprefix("Bearer ")
    exec(compile(code.replace(":8000", f":{port}").replace("ak_...", key), "docs/clients.md", "exec"), {})
    with client_package.AdaKronClient(f"http://127.0.0.1:{port}", key=key) as client:
        assert client.admin.task("tickets").aliases == {"live": 2, "canary": 4}
        keys = client.admin.keys()
    assert [key.name for key in keys] == ["ci"]


def num_answered(port: int) -> float:
    """Predictions answered with 200, by the server's own count."""
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith("adakron_requests_total{") and 'code="200"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counts)


@pytest.mark.parametrize("command", blocks("bash"))
def test_curl(command: str, port: int) -> None:
    """Each command is answered with 200."""
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    given = command.replace(":8000", f":{port}").replace("curl ", "curl -sS --fail-with-body ", 1)
    done = subprocess.run(["bash", "-c", given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "examples"),
    [
        ("/v1/predict", MANY_REQUESTS),
        ("/classify", CLASSIFY_REQUESTS),
        ("/tei/{task}/predict", TEI_REQUESTS),
        ("/v2/models/{task}/infer", INFER_REQUESTS),
    ],
)
def test_documented_requests(path: str, examples: dict[str, Any], port: int) -> None:
    """Every example request that /docs shows is answered by a task of its kind."""
    for key, example in examples.items():
        given = path.format(task="mrpc" if "pair" in key else "sst2")
        body = json.dumps(example["value"]).encode()
        status, answer = Listening(port).request("POST", given, {"Content-Type": "application/json"}, body)
        assert (status, b'"error"' in answer) == (200, False), (key, answer)
