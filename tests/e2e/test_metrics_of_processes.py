"""GET /metrics of a server with several HTTP processes, one of which is killed."""

import time
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.backbone.source import LoadedBackbone
from tests.support.factories import make_adapter_bytes
from tests.support.processes import Server, server_process

FRESH_S = 1.1  # after which no process shows an older text


def test_a_scrape_shows_the_whole_server(tiny: LoadedBackbone, tiny_folder: Path, tmp_path: Path) -> None:
    """Whichever process answers, before and after one is killed: nothing is lost, and nothing is counted twice."""
    settings = {"backbone": str(tiny_folder), "http_workers": "3", "publish_shipped_adapters": "false"}
    with server_process(tmp_path, **settings) as server:
        headers = server.headers | {"Content-Type": "application/octet-stream"}
        adapter = make_adapter_bytes(identity=tiny.identity)
        url = f"{server.url}/admin/v1/tasks/t/versions"
        assert httpx.post(url, content=adapter, headers=headers, timeout=60).status_code == 201
        answered = predict(server, 60)
        before = scrapes(server)
        for samples in before:
            assert samples["adakron_requests_total", "200"] == answered
            assert samples["adakron_batch_size_sum", None] == answered
            assert samples["adakron_tokenize_duration_seconds_count", None] == answered
            assert samples["adakron_uploads_total", "created"] == 1
            assert samples["adakron_resident_adapters", None] == 1
            assert samples["adakron_http_processes", None] == 3
            assert samples["adakron_memory_bytes", None] == pytest.approx(memory(server), rel=0.2)
            assert samples["adakron_build_info", None] == 1
            assert samples["adakron_engine_process_resident_memory_bytes", None] > 1e6
            assert samples["adakron_checker_process_resident_memory_bytes", None] > 1e6
        psutil.Process(listening(server)[0]).kill()
        deadline = time.monotonic() + 60
        while len(listening(server)) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        answered += predict(server, 30)
        for samples in scrapes(server):
            assert samples["adakron_requests_total", "200"] == samples["adakron_batch_size_sum", None] == answered
            assert samples["adakron_http_processes", None] == 3
            assert samples["adakron_http_processes_replaced_total", None] == 1
            assert samples["adakron_registry_revision", None] == before[0]["adakron_registry_revision", None] > 0
            for name in ("process_cpu_seconds_total", "process_start_time_seconds"):
                assert samples[name, None] >= max(earlier[name, None] for earlier in before)
            assert samples["process_start_time_seconds", None] == before[0]["process_start_time_seconds", None]


def predict(server: Server, number: int) -> int:
    """Send requests, each on a connection of its own, and return how many were answered."""
    answers = []
    for _ in range(number):
        try:
            answers.append(httpx.post(f"{server.url}/v1/t/predict", json={"inputs": "a good film"}, timeout=30))
        except httpx.TransportError:  # the process that had the connection was killed
            continue
    assert {answer.status_code for answer in answers} == {200}
    assert len(answers) >= number / 2
    return len(answers)


def scrapes(server: Server) -> list[dict[tuple[str, str | None], float]]:
    """Scrape often enough to reach several processes; samples by name and the label that counts, if there is one."""
    time.sleep(FRESH_S)
    texts = [httpx.get(f"{server.url}/metrics", headers=server.headers).text for _ in range(12)]
    return [
        {
            (sample.name, sample.labels.get("code") or sample.labels.get("result")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        for text in texts
    ]


def memory(server: Server) -> int:
    """Bytes of all processes of the server; those that they share count once."""
    main = psutil.Process(server.process.pid)
    return sum(process.memory_full_info().pss for process in [main, *main.children(recursive=True)])


def listening(server: Server) -> list[int]:
    """The HTTP processes: they listen, and the main process, which holds their sockets, is not one of them."""
    port = httpx.URL(server.url).port
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        try:
            sockets = process.net_connections("tcp")
        except psutil.NoSuchProcess:
            continue
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets):
            found.append(process.pid)
    return found
