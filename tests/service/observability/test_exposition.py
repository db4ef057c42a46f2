"""Scrapes of /metrics: their content, their format, and their cost for the event loop."""

import asyncio
import gzip
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from adapters.backbone.source import LoadedBackbone
from service.api.http.headers import quality
from service.observability.metrics import Metrics, exposition
from tests.support.factories import make_adapter_bytes
from tests.support.serving import predict, running, upload

ID = "request_id", "0123456789abcdef"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
TEXT, OPENMETRICS = (
    "text/plain; version=0.0.4; charset=utf-8",
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
)


def busy(num_tasks: int = 20) -> Metrics:
    """After requests of all tasks, most of which have an exemplar."""
    metrics, chance = Metrics(), random.Random(0)
    for number in range(num_tasks):
        for code in (200, 422, 429):
            exemplar = (ID[0], f"{number}-{code}") if number % 4 else None
            metrics.observe_request(f"task-{number}", code, chance.expovariate(5), exemplar)
    return metrics


def samples(families: Iterator[Metric]) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
    """Those by task, with every label."""
    return {
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
        if "task" in sample.labels
    }


def bucket_exemplars(families: Iterator[Metric]) -> list[tuple[tuple[str, str], ...]]:
    return [
        (*sorted(sample.labels.items()), *sorted(sample.exemplar.labels.items()), ("", f"{sample.exemplar.value:.9f}"))
        for family in families
        for sample in family.samples
        if sample.exemplar
    ]


def test_the_fast_text_says_what_prometheus_client_says() -> None:
    """Name by name, label by label, in both formats, exemplars too; and no series says when it was made."""
    metrics = busy()
    expected = samples(metrics.requests.collect())
    assert len(expected) == 20 * (3 + 17 + 2)
    text, openmetrics = metrics.exposition().decode(), metrics.exposition(openmetrics=True).decode()
    assert samples(parse_text(text)) == samples(parse_openmetrics(openmetrics)) == expected
    exemplars = bucket_exemplars(parse_openmetrics(openmetrics))
    assert exemplars == bucket_exemplars(metrics.requests.collect())
    assert len(exemplars) > 20
    assert "# {" not in text
    assert openmetrics.endswith("\n# EOF\n")
    assert openmetrics.count("# EOF") == 1
    assert "_created" not in text + openmetrics


def test_lines_that_are_kept_follow_their_numbers() -> None:
    """A second rendering shows every later request, and an exemplar of the latest in its bucket."""
    metrics = busy(2)
    before = samples(parse_text(metrics.exposition().decode()))
    metrics.observe_request("task-0", 200, 0.0015, (ID[0], "later"))
    metrics.observe_request("task-2", 500, 100.0, None)
    after = samples(parse_text(metrics.exposition().decode()))
    assert after == samples(metrics.requests.collect()) != before
    assert '{le="0.002",task="task-0"}' in metrics.exposition(openmetrics=True).decode()
    found = {exemplar[2] for exemplar in bucket_exemplars(parse_openmetrics(metrics.exposition(True).decode()))}
    assert ("request_id", "later") in found


@pytest.mark.parametrize(("length", "shown"), [(118, True), (119, False)])
def test_no_exemplar_is_longer_than_openmetrics_allows(length: int, shown: bool) -> None:
    """A client may send a longer X-Request-Id: such a request is counted without an exemplar."""
    metrics = Metrics()
    metrics.observe_request("t", 200, 0.1, ("request_id", "x" * length))
    text = metrics.exposition(openmetrics=True).decode()
    assert ("x" * 100 in text) is shown
    assert len(samples(parse_openmetrics(text))) == 1 + 17 + 2


def test_promtool_reads_it() -> None:
    """Prometheus' own tool finds no line that it cannot read; it may find names that it would have chosen otherwise."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool (Debian's package prometheus)")
    checked = subprocess.run(["promtool", "check", "metrics"], input=busy().exposition(), capture_output=True)
    assert checked.returncode in (0, 3), checked.stderr


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("exposition")) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        predict(client, "t", "a good film")
        yield client


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        (BROWSER, TEXT),
        ("text/plain", TEXT),
        ("application/openmetrics-text; version=1.0.0", OPENMETRICS),
        ("Application/OpenMetrics-Text", OPENMETRICS),
        (PROMETHEUS, OPENMETRICS),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=nonsense", TEXT),
    ],
)
def test_accept_chooses_the_format(client: TestClient, accept: str, media_type: str) -> None:
    """OpenMetrics for a client that prefers it, else Prometheus' text; each parses as what it is."""
    response = client.get("/metrics", headers={"Accept": accept})
    assert response.headers["Content-Type"] == media_type
    assert response.headers["Vary"] == "Accept, Accept-Encoding"
    families = list((parse_text if media_type == TEXT else parse_openmetrics)(response.text))
    assert samples(iter(families)) >= {("adakron_requests_total", (("code", "200"), ("task", "t")), 1.0)}


def test_the_exemplar_of_a_request_is_its_id(client: TestClient) -> None:
    """On every way: the short one of predictions, FastAPI's, and where a request gets no permit."""
    for number, path in enumerate(("/v1/t/predict", "/tei/t/predict", "/v1/nothing/predict")):
        client.post(path, json={"inputs": "a good film"}, headers={"X-Request-Id": f"known-{number}"})
        text = client.get("/metrics", headers={"Accept": OPENMETRICS}).text
        assert f'# {{request_id="known-{number}"}}' in text, path


@pytest.mark.parametrize(("asked", "compressed"), [("gzip, br", True), ("gzip;q=0", False), ("br", False), ("", False)])
def test_gzip_when_asked_for(client: TestClient, asked: str, compressed: bool) -> None:
    """Only then; the same series in either form."""
    with client.stream("GET", "/metrics", headers={"Accept-Encoding": asked}) as response:
        content = b"".join(response.iter_raw())
    assert response.headers.get("Content-Encoding") == ("gzip" if compressed else None)
    assert int(response.headers["Content-Length"]) == len(content)
    text = (gzip.decompress(content) if compressed else content).decode()
    assert samples(parse_text(text)) == samples(parse_text(client.get("/metrics").text))


@pytest.mark.parametrize(
    ("header", "weight"),
    [
        ("gzip", 1.0),
        ("br;q=1.0, GZIP ; q=0.5", 0.5),
        ("gzip;q=0.1, gzip;q=0.7", 0.7),
        ("gzip;q=7", 1.0),
        ("gzip;q=", 0.0),
        ("gzip;q=-1", 0.0),
        ("gzip;q=1e9", 0.0),
        ("gzipped, x-gzip", 0.0),
        (",;,=", 0.0),
    ],
)
def test_quality(header: str, weight: float) -> None:
    """The weight of an entry by RFC 9110; what cannot be read counts as not wanted."""
    assert quality(header, "gzip") == weight


async def test_scrapes_of_a_second_share_a_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those at the same time and those soon after get the same bytes; one that is cancelled takes nothing from them."""
    metrics = busy(1)
    rendered: list[int] = []
    render = metrics._exposition._render
    metrics._exposition._render = lambda kind: rendered.append(threading.get_ident()) or render(kind)  # type: ignore[func-returns-value]
    monkeypatch.setattr(exposition, "FRESH_S", 600.0)
    asked = [asyncio.create_task(metrics.scrape(False, compressed)) for compressed in (False, False, True, True)]
    await asyncio.sleep(0)
    asked[0].cancel()
    plain, small, again = await asyncio.gather(*asked[1:])
    assert gzip.decompress(small) == plain
    assert small is again
    metrics.observe_request("task-0", 200, 0.1, None)
    assert await metrics.scrape(False, False) is plain
    assert len(rendered) == 1
    assert rendered[0] != threading.get_ident()
    monkeypatch.setattr(exposition, "FRESH_S", 0.0)
    assert await metrics.scrape(False, False) != plain
    metrics.close()


async def test_a_rendering_that_fails_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next scrape tries again at once."""
    metrics = busy(1)
    monkeypatch.setattr(exposition, "FRESH_S", 600.0)
    metrics.watch(metrics.draining, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await metrics.scrape(False, False)
    metrics._reads.pop()
    assert b"adakron_draining 0.0" in await metrics.scrape(False, False)
    metrics.close()


async def test_a_thousand_tasks_do_not_hold_up_the_loop() -> None:
    """The loop's own part of a scrape takes next to nothing, and all of it less than half of what the library takes."""
    metrics = busy(1000)
    library = CollectorRegistry()
    library.register(metrics.requests)
    reference = thread_s(lambda: generate_latest(library))
    await metrics.scrape(False, False)
    for number in range(0, 1000, 10):
        metrics.observe_request(f"task-{number}", 200, 0.1, ID)
    assert thread_s(metrics.exposition) < reference / 2
    metrics.observe_request("task-0", 200, 0.1, ID)
    before = time.thread_time()
    await metrics.scrape(True, True)
    assert time.thread_time() - before < 0.02
    metrics.close()


def thread_s(work: object) -> float:
    """Seconds of the processor that `work` takes of this thread."""
    assert callable(work)
    before = time.thread_time()
    work()
    return time.thread_time() - before
