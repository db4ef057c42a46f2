"""docker-compose.yml, its override and the files of docker/ agree with each other; no engine is needed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from service.settings.environment import OTHER_VARIABLES
from tests.support.paths import ROOT

SERVERS = {"adakron", "adakron-1", "adakron-2"}
OF_1_29 = {  # what compose 1.29 knows of the keys of a service, as far as the files use them
    *(
        "build",
        "cap_drop",
        "command",
        "cpus",
        "depends_on",
        "deploy",
        "environment",
        "healthcheck",
        "image",
        "init",
        "ports",
    ),
    *(
        "mem_limit",
        "pids_limit",
        "profiles",
        "read_only",
        "restart",
        "security_opt",
        "stop_grace_period",
        "tmpfs",
        "volumes",
    ),
}


def _yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """docker-compose.yml, parsed."""
    return dict(_yaml("docker-compose.yml"))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its services by name."""
    return dict(compose["services"])


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    """The one scrape job of docker/prometheus.yml."""
    (job,) = _yaml("docker/prometheus.yml")["scrape_configs"]
    return dict(job)


@pytest.fixture(scope="module")
def proxy() -> str:
    """The configuration of the proxy."""
    return (ROOT / "docker" / "proxy" / "haproxy.cfg").read_text()


def _mounts(service: dict[str, Any]) -> list[tuple[str, ...]]:
    return [tuple(volume.split(":")) for volume in service.get("volumes", [])]


def _container_port(service: dict[str, Any]) -> str:
    return str(service["ports"][0]).rpartition(":")[2]


def _admin_port(services: dict[str, dict[str, Any]]) -> int:
    (port,) = {services[name]["environment"]["ADAKRON_ADMIN_PORT"] for name in SERVERS}
    return int(port)


def test_profiles(services: dict[str, dict[str, Any]]) -> None:
    """Without a profile there are the service and Prometheus; each profile adds its part."""
    by_profile: dict[str, set[str]] = {}
    for name, service in services.items():
        for profile in service.get("profiles", [""]):
            by_profile.setdefault(profile, set()).add(name)
    assert by_profile == {
        "": {"adakron", "prometheus"},
        "grafana": {"grafana"},
        "postgres": {"postgres", "adakron-1", "adakron-2", "proxy"},
    }


def test_what_a_service_depends_on_starts_with_it(services: dict[str, dict[str, Any]]) -> None:
    """A service depends on none that another profile would have to bring."""
    for service in services.values():
        for name in service.get("depends_on", []):
            assert set(services[name].get("profiles", [])) <= set(service.get("profiles", []))


@pytest.mark.parametrize("file", ["docker-compose.yml", "docker-compose.gpu.yml"])
def test_files_are_for_both_versions_of_compose(file: str) -> None:
    """Only what compose 1.29 knows as well as 2 is used, and everything at the top is known or begins with x-."""
    parsed = _yaml(file)
    assert {key for key in parsed if not key.startswith("x-")} <= {"services", "volumes"}
    for service in parsed["services"].values():
        assert set(service) <= OF_1_29
        assert set(service.get("build", {})) <= {"context", "dockerfile", "args"}


def test_every_mounted_file_exists(compose: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    """Each mount is read-only and exists, or is a volume that the file declares; no volume is unused."""
    mounts = [mount for service in services.values() for mount in _mounts(service)]
    for source, _, mode in (mount for mount in mounts if mount[0].startswith(".")):
        assert (ROOT / source).exists(), source
        assert mode == "ro"
    assert {mount[0] for mount in mounts if not mount[0].startswith(".")} == set(compose["volumes"])


def test_no_two_registries_share_a_volume(services: dict[str, dict[str, Any]]) -> None:
    """The single server has a data folder of its own; the replicas share one, and with it the admin key."""
    folders = {name: _mounts(services[name]) for name in SERVERS}
    assert folders["adakron"] == [("adakron-data", "/data")]
    assert folders["adakron-1"] == folders["adakron-2"] == [("replicas-data", "/data")]
    urls = {name: services[name]["environment"].get("ADAKRON_REGISTRY_URL") for name in SERVERS}
    assert urls["adakron"] is None
    assert urls["adakron-1"] == urls["adakron-2"]
    host, _, database = urls["adakron-1"].partition("@")[2].partition("/")
    assert host in services
    assert database == services[host]["environment"]["POSTGRES_DB"]


def test_ports_do_not_collide(services: dict[str, dict[str, Any]]) -> None:
    """Every published port can be changed by a variable, and no two are the same; monitoring is for this machine."""
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"adakron", "proxy", "prometheus", "grafana"}
    mappings = [mapping for all_of_one in published.values() for mapping in all_of_one]
    numbers = [re.findall(r"\$\{\w*PORT:-(\d+)\}", mapping) for mapping in mappings]
    assert len({number for (number,) in numbers}) == len(mappings) == 6
    for name in ("prometheus", "grafana"):
        assert published[name][0].startswith("${MONITORING_ADDRESS:-127.0.0.1}:")


def test_administration_is_for_this_machine_only(services: dict[str, dict[str, Any]], proxy: str) -> None:
    """The admin API, the console and the metrics have a port of their own, published on 127.0.0.1 by default."""
    port = _admin_port(services)
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


def test_every_container_has_limits(services: dict[str, dict[str, Any]]) -> None:
    """Memory and processes are bounded for all, the CPUs of the servers on demand; a server's caches fit."""
    for service in services.values():
        assert service["mem_limit"]
        assert service["pids_limit"] >= 256
    for name in SERVERS:
        (gib,) = re.fullmatch(r"\$\{SERVER_MEMORY:-(\d+)g\}", services[name]["mem_limit"]).groups()  # type: ignore[union-attr]
        assert services[name]["cpus"] == "${SERVER_CPUS:-0}"
        fields = Settings.model_fields
        uploads = 2 * fields["max_uploads"].default * fields["max_upload_bytes"].default
        assert int(gib) * 2**30 > 1e9 + fields["adapter_memory_bytes"].default + uploads


def test_compose_builds_the_dockerfile(services: dict[str, dict[str, Any]]) -> None:
    """All servers are one image, built from docker/Dockerfile with the repository as its context."""
    built = [services[name]["build"] for name in sorted(SERVERS)]
    assert built[0] == built[1] == built[2]
    assert (ROOT / built[0]["context"]).resolve() == ROOT.resolve()
    text = (ROOT / built[0]["dockerfile"]).read_text()
    assert all(re.search(rf"^ARG {name}=", text, re.MULTILINE) for name in built[0]["args"])
    (index,), (python,) = (
        re.findall(rf"^ARG {name}=(.*)$", text, re.MULTILINE) for name in ("TORCH_INDEX", "PYTHON_IMAGE")
    )
    assert built[0]["args"]["TORCH_INDEX"] == f"${{TORCH_INDEX-{index}}}"
    proxy = services["proxy"]["build"]
    assert proxy["args"]["PYTHON_IMAGE"] == built[0]["args"]["PYTHON_IMAGE"] == f"${{PYTHON_IMAGE:-{python}}}"
    assert f"ARG PYTHON_IMAGE={python}\n" in (ROOT / proxy["context"] / "Dockerfile").read_text()


def test_compose_sets_only_what_exists(services: dict[str, dict[str, Any]]) -> None:
    """Every ADAKRON_* variable is a setting, or one that the command line reads."""
    given = {name for server in SERVERS for name in services[server]["environment"]} - set(OTHER_VARIABLES)
    names = {name.removeprefix("ADAKRON_").lower() for name in given if name.startswith("ADAKRON_")}
    assert {"admin_key", "registry_url"} <= names <= set(Settings.model_fields)


def test_variables_are_documented() -> None:
    """Every variable that the compose files read stands in docs/deployment.md."""
    documented = (ROOT / "docs" / "deployment.md").read_text()
    for file in ("docker-compose.yml", "docker-compose.gpu.yml"):
        lines = [line.partition(" #")[0] for line in (ROOT / file).read_text().splitlines()]
        for name in set(re.findall(r"\$\{(\w+)", "\n".join(lines))):
            assert f"`{name}`" in documented, name


def test_servers_are_locked_down(services: dict[str, dict[str, Any]]) -> None:
    """A read-only root, no capabilities and no new privileges, on each server and the proxy."""
    for name in SERVERS | {"proxy"}:
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]


def test_images_have_versions(services: dict[str, dict[str, Any]]) -> None:
    """Each fetched image has a fixed version, which a variable can change."""
    for name in ("prometheus", "grafana", "postgres"):
        assert re.fullmatch(r"[\w/]+:\$\{\w+_TAG:-v?\d[\d.]*\}", services[name]["image"])


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
    assert f"bind :{_container_port(services['proxy'])}\n" in proxy
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
    port = _admin_port(services)
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
    targets = {target: source for source, target, *_ in _mounts(services["prometheus"])}
    assert targets["/etc/prometheus/prometheus.yml"] == "./docker/prometheus.yml"
    (rules,) = _yaml("docker/prometheus.yml")["rule_files"]
    assert targets[f"/etc/prometheus/{rules}"] == "./docker/alerts.yml"


def test_grafana_finds_source_and_dashboards(services: dict[str, dict[str, Any]]) -> None:
    """The data source asks the service prometheus where it listens; the dashboards are read from where they lie."""
    mounts = {target: source for source, target, *_ in _mounts(services["grafana"])}
    assert mounts["/etc/grafana/provisioning"] == "./docker/grafana/provisioning"
    (source,) = _yaml("docker/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["uid"] == "prometheus"
    assert source["url"] == f"http://prometheus:{_container_port(services['prometheus'])}"
    (provider,) = _yaml("docker/grafana/provisioning/dashboards/adakron.yml")["providers"]
    assert mounts[provider["options"]["path"]] == "./docker/grafana/dashboards"
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert (ROOT / mounts[str(home.parent)] / home.name).is_file()


def test_gpu_override(services: dict[str, dict[str, Any]]) -> None:
    """docker-compose.gpu.yml gives each server one GPU and torch's CUDA build, and changes nothing else."""
    on_gpu = _yaml("docker-compose.gpu.yml")["services"]
    assert set(on_gpu) == SERVERS <= set(services)
    for service in on_gpu.values():
        assert set(service) == {"build", "image", "deploy", "mem_limit"}
        assert set(service["build"]["args"]) <= set(services["adakron"]["build"]["args"])
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
        assert service["image"] != services["adakron"]["image"]
