"""HAProxy, Prometheus and Grafana are configured for the services of docker-compose.yml; no engine is needed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.support.compose import SERVERS, admin_port, container_port, read_mounts, read_yaml
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    """The one scrape job of docker/prometheus.yml."""
    (job,) = read_yaml("docker/prometheus.yml")["scrape_configs"]
    return dict(job)


def test_administration_is_for_this_machine_only(services: dict[str, dict[str, Any]], proxy: str) -> None:
    """The admin API, the console and the metrics have a port of their own, published on 127.0.0.1 by default."""
    port = admin_port(services)
    assert port != Settings.model_fields["port"].default
    for name in ("adakron", "proxy"):
        public, admin = services[name]["ports"]
        assert public.endswith(f":{Settings.model_fields['port'].default}")
        assert re.fullmatch(rf"\$\{{ADMIN_ADDRESS:-127\.0\.0\.1\}}:\$\{{\w+:-\d+\}}:{port}", admin)
    assert not any("ports" in services[name] for name in SERVERS - {"adakron"})
    for name in SERVERS:  # the command line inside the container reaches the admin API
        assert services[name]["environment"]["ADAKRON_URL"] == f"http://127.0.0.1:{port}"
    backend = proxy.split("\nbackend administration")[1].split("\n\n")[0]
    assert re.findall(r"server (\S+) \1:(\d+)", backend) == [
        (name, str(port)) for name in sorted(SERVERS - {"adakron"})
    ]
    assert "path /metrics" in proxy.split("frontend administrators")[1].split("\n\n")[0]


def test_compose_waits_for_requests_in_flight(services: dict[str, dict[str, Any]], proxy: str) -> None:
    """The engine kills a server, or the proxy, only after it has given up on its requests."""
    grace_s = {name: float(services[name]["stop_grace_period"].removesuffix("s")) for name in SERVERS | {"proxy"}}
    needed_s = sum(Settings.model_fields[name].default for name in ("drain_s", "shutdown_timeout_s"))
    assert all(grace_s[name] > needed_s for name in SERVERS)
    (hard_stop_s,) = re.findall(r"hard-stop-after (\d+)s", proxy)
    assert grace_s["proxy"] > float(hard_stop_s)


def test_proxy_knows_the_replicas(services: dict[str, dict[str, Any]], proxy: str) -> None:
    """Its servers are the replicas, on the port that they listen on; it is published on the port that it listens on."""
    backend = proxy.split("\nbackend replicas")[1].split("\n\n")[0]
    servers = dict(re.findall(r"^ +server (\S+) (\S+)$", backend, re.MULTILINE))
    port = Settings.model_fields["port"].default
    assert servers == {name: f"{name}:{port}" for name in SERVERS - {"adakron"}}
    assert f"bind :{container_port(services['proxy'])}\n" in proxy
    assert "GET uri /health/ready" in proxy


def test_proxy_waits_longer_than_the_service(proxy: str) -> None:
    """The service answers 504 before the proxy does, and the proxy sees a drained server before it is gone."""
    seconds = {name: float(value) for name, value in re.findall(r"^ +timeout ([\w-]+) (\d+)s", proxy, re.MULTILINE)}
    fields = Settings.model_fields
    assert seconds["server"] > fields["max_request_timeout_s"].default
    assert seconds["client"] >= fields["body_timeout_s"].default
    (interval_s, fall) = map(int, re.findall(r"inter (\d+)s fall (\d+)", proxy)[0])
    assert interval_s * fall < fields["drain_s"].default


def test_proxy_sends_nothing_twice(proxy: str) -> None:
    """Only what never reached a replica is tried again, on another one."""
    assert re.findall(r"^ +retry-on (.*)$", proxy, re.MULTILINE) == ["conn-failure"]
    assert re.findall(r"^ +option redispatch (.*)$", proxy, re.MULTILINE) == ["1"]


def test_prometheus_scrapes_the_servers(services: dict[str, dict[str, Any]], job: dict[str, Any], proxy: str) -> None:
    """The single server by name, the replicas as the proxy tells, on the admin port; each registry is a job."""
    (single,) = job["dns_sd_configs"]
    port = admin_port(services)
    assert (single["names"], single["port"]) == (["adakron"], port)
    (relabel,) = job["relabel_configs"]
    assert relabel["replacement"] == f"$1:{port}"
    (discovery,) = job["http_sd_configs"]
    host, operators, path = re.fullmatch(r"http://([\w-]+):(\d+)(/\w+)", discovery["url"]).groups()  # type: ignore[union-attr]
    assert host == "proxy"
    assert f"bind :{operators}\n" in proxy
    (told,) = re.findall(rf"string '(\[.*\])' if {{ path {path} }}", proxy)
    replicas, itself = yaml.safe_load(told)
    assert replicas["targets"] == [f"{name}:{port}" for name in sorted(SERVERS - {"adakron"})]
    assert replicas["labels"]["job"].startswith(f"{job['job_name']}-")
    assert itself == {"targets": [f"proxy:{operators}"], "labels": {"job": "proxy"}}
    assert job["metrics_path"] == "/metrics"


def test_prometheus_reads_the_alert_rules(services: dict[str, dict[str, Any]]) -> None:
    """Its configuration and the rules that this names lie where it looks."""
    targets = {target: source for source, target, *_ in read_mounts(services["prometheus"])}
    assert targets["/etc/prometheus/prometheus.yml"] == "./docker/prometheus.yml"
    (rules,) = read_yaml("docker/prometheus.yml")["rule_files"]
    assert targets[f"/etc/prometheus/{rules}"] == "./docker/alerts.yml"


def test_grafana_finds_source_and_dashboards(services: dict[str, dict[str, Any]]) -> None:
    """The data source asks the service prometheus where it listens; the dashboards are read from where they lie."""
    mounts = {target: source for source, target, *_ in read_mounts(services["grafana"])}
    assert mounts["/etc/grafana/provisioning"] == "./docker/grafana/provisioning"
    (source,) = read_yaml("docker/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["uid"] == "prometheus"
    assert source["url"] == f"http://prometheus:{container_port(services['prometheus'])}"
    (provider,) = read_yaml("docker/grafana/provisioning/dashboards/adakron.yml")["providers"]
    assert mounts[provider["options"]["path"]] == "./docker/grafana/dashboards"
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert (ROOT / mounts[str(home.parent)] / home.name).is_file()
