"""The profile postgres: two replicas on one PostgreSQL behind a proxy, beside the single server."""

import re
import time

import httpx

from tests.docker import prometheus
from tests.docker.load import Load
from tests.docker.serving import digest, predict, publish, shipped
from tests.docker.stack import START_S, Stack, is_ready, wait_until

ALL_UP = dict.fromkeys(["adakron:8001", "adakron-1:8001", "adakron-2:8001", "proxy:8405"], "up")


def test_both_replicas_take_the_same_key(replicas: Stack) -> None:
    """The generated admin key is one for both, and not the single server's."""
    admin = replicas.admin("adakron-1")
    assert replicas.admin("adakron-2") == admin != replicas.admin("adakron")
    for service in ("adakron-1", "adakron-2"):
        assert httpx.get(f"{replicas.direct_url(service, 8001)}/admin/v1/tasks", headers=admin).status_code == 200
    proxied = httpx.get(f"{replicas.url('PROXY_ADMIN_PORT')}/admin/v1/tasks", headers=admin)
    assert proxied.status_code == 200
    assert httpx.get(f"{replicas.url('PROXY_PORT')}/admin/v1/tasks", headers=admin).status_code == 404


def test_upload_is_served_by_the_other_replica(replicas: Stack, figures: list[str]) -> None:
    """The other replica serves a published version within two seconds; the single server never does."""
    second = replicas.direct_url("adakron-2")
    published = publish(replicas.direct_url("adakron-1", 8001), replicas.admin("adakron-1"), "shared", shipped("cola"))
    took_s = wait_until(lambda: digest(second, "shared") == published["digest"], 10, "served by the other replica")
    figures.append(f"an upload is live on the other replica after {took_s:.2f} s")
    assert took_s < 2
    assert digest(replicas.url("PROXY_PORT"), "shared") == published["digest"]
    assert predict(replicas.url("PORT"), "shared").status_code == 404


def test_proxy_names_requests_and_clients(replicas: Stack) -> None:
    """A client's X-Request-Id is kept where it is a plain word, and made where there is none; metrics stay inside."""
    url = replicas.url("PROXY_PORT")
    given = httpx.get(f"{url}/v1/tasks", headers={"X-Request-Id": "a-request-1"})
    assert given.headers["X-Request-Id"] == "a-request-1"
    made = [httpx.get(f"{url}/v1/tasks", headers={"X-Request-Id": bad}).headers["X-Request-Id"] for bad in ("", "a b")]
    assert all(re.fullmatch(r"[0-9a-f-]{36}", each) for each in made)
    assert made[0] != made[1]
    hidden = httpx.get(f"{replicas.url('PROXY_ADMIN_PORT')}/metrics")
    assert (hidden.status_code, hidden.json()["error_type"]) == (404, "not_found")


def test_prometheus_finds_the_replicas(replicas: Stack) -> None:
    """Each replica is an instance of its own, beside the single server and the proxy, and all are up."""
    url = replicas.url("PROMETHEUS_PORT")
    wait_until(lambda: prometheus.targets(url) == ALL_UP, 120, "all up")

    def agree() -> bool:
        revisions = prometheus.query(url, 'adakron_registry_revision{job="adakron-replicas"}')
        return set(revisions) == {"adakron-1:8001", "adakron-2:8001"} and len(set(revisions.values())) == 1

    wait_until(agree, 60, "one revision of both replicas")
    assert prometheus.targets(url) == ALL_UP


def test_killed_replica_costs_no_request(replicas: Stack, figures: list[str]) -> None:
    """One replica is killed under load: every request is answered, with one retry at most; then it comes back."""
    prometheus_url = replicas.url("PROMETHEUS_PORT")
    with Load(replicas.url("PROXY_PORT"), "sst2") as load:
        time.sleep(4)
        replicas.compose("kill", "adakron-1")
        time.sleep(8)
    figures.append(f"a replica killed under load: {dict(load.counts)}, slowest answer {load.slowest_s:.2f} s")
    assert load.counts["requests"] > 100
    assert load.counts["failed"] == 0
    wait_until(lambda: prometheus.targets(prometheus_url)["adakron-1:8001"] == "down", 30, "seen by Prometheus")
    replicas.compose("start", "adakron-1")
    wait_until(lambda: is_ready(replicas.direct_url("adakron-1")), START_S, "ready")
    wait_until(lambda: prometheus.targets(prometheus_url) == ALL_UP, 60, "all up again")
    assert digest(replicas.direct_url("adakron-1"), "shared") == digest(replicas.direct_url("adakron-2"), "shared")


def test_stopped_replica_costs_not_even_a_retry(replicas: Stack, figures: list[str]) -> None:
    """A rolling restart under load: the proxy stops asking a replica that drains, before it stops listening."""
    with Load(replicas.url("PROXY_PORT"), "sst2") as load:
        time.sleep(1)
        replicas.compose("restart", "adakron-2")
    figures.append(f"a replica restarted under load: {dict(load.counts)}, slowest answer {load.slowest_s:.2f} s")
    wait_until(lambda: is_ready(replicas.direct_url("adakron-2")), START_S, "ready")
    assert load.counts["requests"] > 100
    assert load.counts["retried"] == 0


def test_data_outlive_the_database_container(replicas: Stack) -> None:
    """Predictions go on while PostgreSQL is restarted, and what was published is there afterwards."""
    url, admin = replicas.url("PROXY_PORT"), replicas.admin("adakron-1")
    admin_url = replicas.url("PROXY_ADMIN_PORT")
    before = digest(url, "shared")
    replicas.compose("restart", "postgres")
    assert digest(url, "shared") == before

    def listed() -> bool:
        response = httpx.get(f"{admin_url}/admin/v1/tasks/shared", headers=admin, timeout=10)
        return response.status_code == 200 and response.json()["aliases"] == {"live": 1}

    wait_until(listed, 60, "listed by the registry")
