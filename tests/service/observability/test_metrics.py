"""The metrics, as a scrape shows them."""

import os
from importlib.metadata import version as package_version
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from adapters.backbone.source import LoadedBackbone
from service.api.http.errors import ERROR_TYPES
from service.api.state import ServerState
from service.observability.metrics import OTHER, Metrics
from service.observability.metrics.requests import LATENCY_S
from service.processes.cgroups import memory_limit_bytes
from tests.support.factories import make_adapter_bytes
from tests.support.serving import UPLOAD, parts_of, predict, running, upload


def scrape(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_a_prediction_shows_in_every_metric(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """After known requests each counter, histogram and gauge has the value that they make."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        predict(client, "t", ["a good film", "a dog"])
        client.post("/v1/t/predict", json={"inputs": ""})
        client.post("/admin/v1/tasks/t/versions", content=b"no adapter at all", headers=UPLOAD)
        samples = scrape(client)
    assert samples["adakron_requests_total", (("code", "200"), ("task", "t"))] == 1
    assert samples["adakron_requests_total", (("code", "422"), ("task", "t"))] == 1
    assert samples["adakron_request_duration_seconds_count", (("task", "t"),)] == 2
    assert samples["adakron_request_duration_seconds_bucket", (("le", "+Inf"), ("task", "t"))] == 2
    assert samples["adakron_request_duration_seconds_bucket", (("le", "0.001"), ("task", "t"))] <= 2
    for name in ("tokenize_duration_seconds", "queue_duration_seconds", "inference_duration_seconds"):
        assert samples[f"adakron_{name}_count", ()] == 1
    assert samples["adakron_batch_size_sum", ()] == 2
    assert samples["adakron_batch_tokens_sum", ()] == 5 + 4
    assert samples["adakron_batch_adapters_sum", ()] == 1
    assert samples["adakron_queue_depth", ()] == 0
    assert samples["adakron_queue_oldest_seconds", ()] == 0
    assert samples["adakron_resident_adapters", ()] == 1
    assert samples["adakron_adapter_load_duration_seconds_count", ()] == 1
    assert samples["adakron_uploads_total", (("result", "created"),)] == 1
    assert samples["adakron_uploads_total", (("result", "container_header_length"),)] == 1
    assert samples["adakron_registry_revision", ()] > 0
    assert samples["adakron_adapter_evictions_total", ()] == 0


def test_unknown_tasks_make_no_series(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """However many unknown names are asked for, they count as `_other`."""
    with running(tiny, tmp_path) as client:
        client.post("/v1/nothing/predict", json={"inputs": "a"})
        before = set(scrape(client))
        for number in range(200):
            client.post(f"/v1/unknown-{number}/predict", json={"inputs": "a"})
        after = scrape(client)
    assert set(after) == before
    assert after["adakron_requests_total", (("code", "404"), ("task", OTHER))] == 201


def test_versions_share_the_series_of_their_task(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """`t@1` is counted as `t`."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        predict(client, "t@1", "a")
        assert scrape(client)["adakron_requests_total", (("code", "200"), ("task", "t"))] == 1


def test_every_error_is_counted_by_its_type(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Once each, on any route and in any protocol, under the error_type that its own routes answer."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        before = errors_in(scrape(client))
        client.post("/v1/t/predict", json={"inputs": ""})  # refused by the service
        client.post("/v1/t/predict", json={"inputs": 7})  # by FastAPI
        client.post("/v1/t/predict", content=b"{", headers={"Content-Type": "application/json"})
        client.post("/v1/nothing/predict", json={"inputs": "a"})
        client.post("/tei/nothing/predict", json={"inputs": "a"})
        client.post("/v1/predict", json={"inputs": "a", "tasks": ["t", "nothing"]})  # 200, with an error in it
        client.get("/no/such/route")
        client.put("/v1/tasks")
        client.get("/admin/v1/keys")
        after = errors_in(scrape(client))
    assert set(before) == ERROR_TYPES
    assert not any(before.values())
    assert {name: count for name, count in after.items() if count} == {
        "validation": 2,
        "malformed_json": 1,
        "unknown_task": 3,
        "not_found": 1,
        "method_not_allowed": 1,
        "unauthorised": 1,
    }


def errors_in(samples: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> dict[str, float]:
    """The counters of errors, by type."""
    return {labels[0][1]: value for (name, labels), value in samples.items() if name == "adakron_errors_total"}


def test_a_bug_is_an_internal_error(tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unexpected errors are counted, on prediction routes and on FastAPI's."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    with running(tiny, tmp_path) as client:
        monkeypatch.setattr("service.registry.snapshot.Snapshot.resolve", broken)
        monkeypatch.setattr("service.registry.snapshot.Snapshot.live", broken)
        assert client.post("/v1/t/predict", json={"inputs": "a"}).status_code == 500
        assert client.get("/v1/tasks").status_code == 500
        assert errors_in(scrape(client))["internal"] == 2


def test_state_that_alerts_ask_for(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Bytes and limits, the registry's age, the drain, uploads under way, what is served."""
    with running(tiny, tmp_path, adapter_memory_bytes="10MiB") as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        samples = scrape(client)
        state: ServerState = client.app_state["server"]
        state.draining.set()
        draining = scrape(client)["adakron_draining", ()]
    assert 0 < samples["adakron_adapter_memory_bytes", ()] == parts_of(state).adapter_cache.used_bytes
    assert samples["adakron_adapter_memory_limit_bytes", ()] == 10 * 2**20
    assert 0 <= samples["adakron_registry_age_seconds", ()] < 5
    assert samples["adakron_uploads_in_progress", ()] == 0
    assert samples["adakron_memory_limit_bytes", ()] == memory_limit_bytes()
    assert samples["adakron_checker_process_resident_memory_bytes", ()] > 1e6
    assert (samples["adakron_draining", ()], draining) == (0, 1)
    (build,) = (dict(labels) for name, labels in samples if name == "adakron_build_info")
    assert build == {
        "version": package_version("adakron-serve"),
        "backbone": tiny.identity.name,
        "weights": tiny.identity.weights_sha256[:12],
        "device": "cpu",
        "dtype": "float32",
    }


def test_tasks_beyond_the_limit_are_other() -> None:
    """Only the first `max_tasks` names become labels."""
    metrics = Metrics(max_tasks=2)
    for name in ("a", "b", "c", "a", None):
        metrics.observe_request(name, 200, 0.1, None)
    assert counted_by_task(metrics) == {"a": 2, "b": 1, OTHER: 2}


def counted_by_task(metrics: Metrics) -> dict[str, float]:
    """The requests of each label `task`."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    (requests,) = (family for family in families if family.name == "adakron_requests")
    return {sample.labels["task"]: sample.value for sample in requests.samples}


@pytest.mark.parametrize("name", ["tokenize", "queue", "inference", "adapter_load"])
def test_latency_buckets_start_at_a_millisecond(name: str) -> None:
    """Every latency is a histogram with buckets from 1 ms to half a minute."""
    metrics = Metrics()
    for found in [
        [float(sample.labels["le"]) for sample in family.samples if sample.name.endswith("_bucket")]
        for family in metrics.registry.collect()
        if family.name == f"adakron_{name}_duration_seconds"
    ]:
        assert found[0] == 0.001
        assert found[-2] >= 30
        assert found[:-1] == list(LATENCY_S)  # as that of whole requests has


def test_the_engines_process_shows_beside_this_one() -> None:
    """Its memory and processor time are series of their own."""
    metrics = Metrics()
    metrics.watch_process("engine", os.getpid)
    metrics.read_state()
    families = {family.name: family.samples[0].value for family in metrics.registry.collect() if family.samples}
    assert families["adakron_engine_process_resident_memory_bytes"] > 1e6
    assert families["adakron_engine_process_start_time_seconds"] == families["process_start_time_seconds"]
    assert families["adakron_engine_process_cpu_seconds"] > 0
