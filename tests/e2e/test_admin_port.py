"""`--admin-port`: the admin port has every route, the public one neither admin API, metrics nor console."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapters.backbone.source import LoadedBackbone
from service.app import create_app
from service.settings import Settings
from tests.support.factories import make_adapter_bytes
from tests.support.processes import Server, server_process

WRITTEN_S = 30  # for the line of a request to be in the log: it is written after the response


@pytest.fixture(scope="module")
def two_ports(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("two-ports")
    with server_process(folder, admin_port="0", backbone=str(tiny_folder), log_level="debug") as server:
        yield server


def test_each_route_is_where_it_belongs(two_ports: Server) -> None:
    """Admin, metrics and console are 404 on the public port, as if they did not exist; the admin port has all."""
    assert two_ports.url != two_ports.admin_url
    paths = create_app(Settings()).openapi()["paths"]
    admin_only = {path for path in paths if path.startswith("/admin") or path == "/metrics"}
    for path in admin_only:
        for method in paths[path]:
            filled = path.format(task="t", version=1, alias="live", key_id="0")
            answer = httpx.request(method, two_ports.url + filled, headers=two_ports.headers)
            assert (answer.status_code, answer.json()["error_type"]) == (404, "not_found"), (method, path)
    assert httpx.get(f"{two_ports.admin_url}/openapi.json").json()["paths"].keys() == paths.keys()
    assert httpx.get(f"{two_ports.url}/openapi.json").json()["paths"].keys() == paths.keys() - admin_only
    for url in (two_ports.url, two_ports.admin_url):
        assert httpx.get(f"{url}/health/ready").status_code == 200
    for path in ("/", "/console", "/console/app.js"):
        assert httpx.get(two_ports.admin_url + path, follow_redirects=True).status_code == 200
        assert httpx.get(two_ports.url + path).status_code == 404
    assert f"console: {two_ports.admin_url.rpartition(':')[0]}:0/console" in two_ports.log


def test_what_is_published_on_one_is_served_on_the_other(two_ports: Server, tiny: LoadedBackbone) -> None:
    """Both ports are one server."""
    headers = two_ports.headers | {"Content-Type": "application/octet-stream"}
    data = make_adapter_bytes(identity=tiny.identity)
    url = f"{two_ports.admin_url}/admin/v1/tasks/t/versions"
    assert httpx.post(url, content=data, headers=headers).status_code == 201
    for base in (two_ports.url, two_ports.admin_url):
        assert httpx.get(f"{base}/v1/tasks").json()["tasks"][0]["task"] == "t"
        assert httpx.post(f"{base}/v1/t/predict", json={"inputs": "a"}).status_code == 200
        assert httpx.post(f"{base}/v1/predict", json={"inputs": "a", "tasks": ["t"]}).status_code == 200
    assert 'adakron_requests_total{code="200",task="t"} 4.0' in httpx.get(f"{two_ports.admin_url}/metrics").text


def test_the_log_has_no_key(two_ports: Server) -> None:
    """Not even at level debug, which includes the access log."""
    made = two_ports.adakron("keys", "create", "ci", "--scope", "predict")
    key = made.stdout.strip()
    assert made.returncode == 0
    assert key.startswith("ak_")
    assert httpx.get(f"{two_ports.admin_url}/admin/v1/keys", headers={"Authorization": f"Bearer {key}"}).is_error
    deadline = time.monotonic() + WRITTEN_S
    while "GET /admin/v1/keys" not in two_ports.log:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert key.split("_", 2)[2] not in two_ports.log
    assert two_ports.key not in two_ports.log


def test_it_ends_in_order(two_ports: Server) -> None:
    """SIGTERM ends both ports and everything behind them, with exit code 0 and no error in the log. The last test."""
    two_ports.process.terminate()
    assert two_ports.process.wait(60) == 0
    assert "Traceback" not in two_ports.log
    assert two_ports.log.count("Finished server process") == 2
