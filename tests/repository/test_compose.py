"""docker-compose.yml, its override and the files of docker/ agree with each other; no engine is needed."""

import re
from typing import Any

import pytest

from service.settings import Settings
from service.settings.environment import OTHER_VARIABLES
from tests.support.compose import SERVERS, read_mounts, read_yaml
from tests.support.paths import ROOT

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
    parsed = read_yaml(file)
    assert {key for key in parsed if not key.startswith("x-")} <= {"services", "volumes"}
    for service in parsed["services"].values():
        assert set(service) <= OF_1_29
        assert set(service.get("build", {})) <= {"context", "dockerfile", "args"}


def test_every_mounted_file_exists(compose: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    """Each mount is read-only and exists, or is a volume that the file declares; no volume is unused."""
    mounts = [mount for service in services.values() for mount in read_mounts(service)]
    for source, _, mode in (mount for mount in mounts if mount[0].startswith(".")):
        assert (ROOT / source).exists(), source
        assert mode == "ro"
    assert {mount[0] for mount in mounts if not mount[0].startswith(".")} == set(compose["volumes"])


def test_no_two_registries_share_a_volume(services: dict[str, dict[str, Any]]) -> None:
    """The single server has a data folder of its own; the replicas share one, and with it the admin key."""
    folders = {name: read_mounts(services[name]) for name in SERVERS}
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
        adapters = fields["adapter_memory_bytes"].default + fields["adapter_file_memory_bytes"].default
        assert int(gib) * 2**30 > 1e9 + adapters + uploads


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


def test_gpu_override(services: dict[str, dict[str, Any]]) -> None:
    """docker-compose.gpu.yml gives each server one GPU and torch's CUDA build, and changes nothing else."""
    on_gpu = read_yaml("docker-compose.gpu.yml")["services"]
    assert set(on_gpu) == SERVERS <= set(services)
    for service in on_gpu.values():
        assert set(service) == {"build", "image", "deploy", "mem_limit"}
        assert set(service["build"]["args"]) <= set(services["adakron"]["build"]["args"])
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
        assert service["image"] != services["adakron"]["image"]
