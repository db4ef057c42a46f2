"""`docker compose up`: the single server on SQLite, and Prometheus."""

import json

import httpx

from tests.docker import prometheus
from tests.docker.serving import PAIRS, SINGLE, digest, predict, publish, shipped
from tests.docker.stack import START_S, Stack, docker, inspect, is_ready, wait_until

P95 = "histogram_quantile(0.95, sum by (le) (rate(adakron_request_duration_seconds_bucket[1m])))"


def test_shipped_tasks_answer(stack: Stack) -> None:
    """All five tasks are live at once, and one of them knows a good film."""
    assert predict(stack.url("PORT"), "sst2").json()["predictions"][0]["label"] == "positive"
    for task in SINGLE:
        assert predict(stack.url("PORT"), task).status_code == 200
    for task in PAIRS:
        assert predict(stack.url("PORT"), task, [["A man eats.", "Someone eats."]]).status_code == 200


def test_logs_are_json(stack: Stack) -> None:
    """Every line of a server that is well is an object for whatever collects logs."""
    lines = docker("logs", stack.container("adakron")).stderr.splitlines()
    assert any("running on" in json.loads(line)["message"] for line in lines), lines


def test_container_is_locked_down(stack: Stack) -> None:
    """No capability, no way to new privileges, no file system to write to but the volume and /tmp."""
    status = docker("exec", stack.container("adakron"), "cat", "/proc/self/status").stdout
    fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Uid"].split()[0] == "10001"
    refused = docker("exec", stack.container("adakron"), "touch", "/file", check=False)
    assert "Read-only file system" in refused.stderr


def test_administration_has_a_port_of_its_own(stack: Stack) -> None:
    """Clients' port has neither admin API nor metrics nor console; the other one has, on 127.0.0.1 alone."""
    ports = inspect(stack.container("adakron"))["NetworkSettings"]["Ports"]
    assert [each["HostIp"] for each in ports["8001/tcp"]] == ["127.0.0.1"]
    for path in ("/metrics", "/admin/v1/tasks", "/console"):
        assert httpx.get(f"{stack.url('PORT')}{path}").status_code == 404
        answer = httpx.get(f"{stack.url('ADMIN_PORT')}{path}", headers=stack.admin("adakron"), follow_redirects=True)
        assert answer.status_code == 200, path
    weighted = stack.compose("exec", "-T", "adakron", "adakron", "weight", "sst2", "1")
    assert "sst2" in weighted


def test_limits_hold(stack: Stack, figures: list[str]) -> None:
    """Memory and processes are bounded, and a server that has answered is far below both."""
    container = stack.container("adakron")
    limits = inspect(container)["HostConfig"]
    assert (limits["Memory"], limits["PidsLimit"], limits["NanoCpus"]) == (4 * 2**30, 2048, 0)
    processes = len(docker("exec", container, "sh", "-c", "ls -d /proc/[0-9]*/task/*").stdout.splitlines())
    figures.append(f"threads of a server and its processes: {processes} of {limits['PidsLimit']}")
    assert processes < limits["PidsLimit"] / 4


def test_upload_outlives_its_container(stack: Stack) -> None:
    """Published versions and the key survive a restart, and a new container."""
    url, admin = stack.url("PORT"), stack.admin("adakron")
    published = publish(stack.url("ADMIN_PORT"), admin, "kept", shipped("sst2"))
    assert digest(url, "kept") == published["digest"]
    stack.compose("restart", "adakron")
    wait_until(lambda: is_ready(url), START_S, "ready")
    assert digest(url, "kept") == published["digest"]
    before = stack.container("adakron")
    stack.compose("up", "--detach", "--force-recreate", "--no-deps", "adakron")
    wait_until(lambda: is_ready(url), START_S, "ready")
    assert stack.container("adakron") != before
    assert digest(url, "kept") == published["digest"]
    assert stack.admin("adakron") == admin


def test_prometheus_knows_the_latency(stack: Stack, figures: list[str]) -> None:
    """The 95th percentile of what was just asked can be read back, and is plausible."""
    url = stack.url("PROMETHEUS_PORT")
    wait_until(lambda: prometheus.targets(url) == {"adakron:8001": "up"}, 60, "the single server alone, up")

    def measured() -> bool:
        for _ in range(5):
            predict(stack.url("PORT"), "sst2")
        return 0 < prometheus.query(url, P95).get("", 0) < float("inf")

    wait_until(measured, 60, "a latency in Prometheus")
    p95_s = prometheus.query(url, P95)[""]
    figures.append(f"latency in Prometheus, 95th percentile: {1000 * p95_s:.0f} ms")
    assert 0.0005 < p95_s < 5


def test_alert_rules_are_loaded(stack: Stack) -> None:
    """Prometheus has read the alert rules, and could evaluate each."""
    url = stack.url("PROMETHEUS_PORT")
    wait_until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules(url)), 60, "evaluated")
    rules = prometheus.rules(url)
    assert any(rule["type"] == "alerting" for rule in rules)
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
