"""`adakron push --hub`, `pull` and `doctor` as commands of their own, beside a running server."""

import json
from pathlib import Path

import httpx
import pytest

from service.hub.card import ADAPTER_FILE
from tests.support.fake_hub import TOKEN, fake_hub
from tests.support.paths import ROOT
from tests.support.processes import Server

SHIPPED = ROOT / "adapters/pretrained/sst2.safetensors"


def test_from_file_to_hub_to_server(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shipped adapter goes to the Hub that HF_ENDPOINT names, and from there onto the server, where it answers."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    with fake_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        pushed = server.adakron("push", "films", str(SHIPPED), "--hub", "tester/films")
        assert pushed.returncode == 0, pushed.stderr
        assert hub.files("tester/films")[ADAPTER_FILE] == SHIPPED.read_bytes()
        pulled = server.adakron("pull", "tester/films", "--task", "films")
        assert pulled.returncode == 0, pulled.stderr
        assert "films@1 is live" in pulled.stdout
        assert TOKEN not in pushed.stdout + pushed.stderr + pulled.stdout + pulled.stderr
    answer = httpx.post(f"{server.url}/v1/films/predict", json={"inputs": "wonderful"}).json()
    assert answer["predictions"][0]["label"] == "positive"


def test_doctor_beside_a_running_server(server: Server) -> None:
    """The server, its port and its registry are found in order, from outside and while it runs."""
    result = server.adakron(
        "doctor", "--data-dir", str(server.folder), "--port", server.url.rpartition(":")[2], "--json"
    )
    assert result.returncode == 0, result.stdout
    found = {entry["check"]: entry for entry in json.loads(result.stdout)["checks"]}
    for name in ("server", "ports", "registry", "versions", "admin-key"):
        assert found[name]["status"] == "ok", found[name]
    assert "is ok, release" in found["server"]["message"]
    assert "is taken by an AdaKron server" in found["ports"]["message"]
