"""The image: what is in it, what is not, and that it runs without a network and without writing to itself."""

from collections.abc import Iterator

import pytest

from tests.docker.serving import PAIRS, SINGLE
from tests.docker.stack import IMAGE, START_S, Stack, docker, inspect, wait_until

COMPILERS = ("cc", "c99", "gcc", "g++", "clang", "tcc", "cpp", "as", "ld")


@pytest.fixture(scope="module")
def alone(stack: Stack) -> Iterator[str]:
    """A container of the image that `stack` has built: no network, a read-only root, only its own volume."""
    run = ["run", "--detach", "--network=none", "--read-only", "--tmpfs=/tmp", "--env=ADAKRON_ENGINE_THREADS=1"]
    container = docker(*run, IMAGE).stdout.strip()
    try:
        wait_until(lambda: _health(container) == "healthy", START_S, "healthy")
        yield container
    finally:
        docker("rm", "--force", "--volumes", container)


def _health(container: str) -> str:
    state = inspect(container)["State"]
    assert state["Running"], docker("logs", container).stderr
    return str(state["Health"]["Status"])


def _in(container: str, *command: str) -> str:
    return docker("exec", container, *command).stdout.strip()


def test_image_size(stack: Stack, figures: list[str]) -> None:
    """The service adds less than 1.2 GB to Debian's Python."""
    size, base = (inspect(name)["Size"] / 1e6 for name in (IMAGE, "python:3.11-slim-bookworm"))
    figures.append(f"image: {size:.0f} MB, {size - base:.0f} MB more than its base")
    assert size - base < 1200


def test_image_has_no_compiler(alone: str) -> None:
    """Nothing that compiles or links is in the image, but what was compiled is."""
    found = docker("exec", alone, "sh", "-c", f"for name in {' '.join(COMPILERS)}; do command -v $name; done; true")
    assert found.stdout == ""
    assert "compiled kernels, with vectors" in docker("logs", alone).stderr


def test_image_has_torch_for_cpus(alone: str) -> None:
    """torch is its build without CUDA."""
    assert _in(alone, "python", "-c", "import torch; print(torch.version.cuda)") == "None"


def test_image_can_send_traces(alone: str) -> None:
    """A collector's address is all that is missing: nothing could be installed into an image that is read-only."""
    command = "from service.observability.tracing import Tracing; print(Tracing.from_environment() is not None)"
    collector = "--env=OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"
    assert docker("exec", collector, alone, "python", "-c", command).stdout.strip() == "True"


def test_image_runs_as_nobody_in_particular(alone: str) -> None:
    """An ordinary user, who can write to the data folder and nowhere else."""
    assert inspect(IMAGE)["Config"]["User"] == "10001:10001"
    assert _in(alone, "id", "-u") == "10001"
    assert docker("exec", alone, "touch", "/data/file", check=False).returncode == 0
    for path in ("/file", "/venv/file", "/etc/file"):
        assert "Read-only file system" in docker("exec", alone, "touch", path, check=False).stderr


def test_image_serves_without_a_network(alone: str) -> None:
    """Backbone and the five adapters are inside."""
    tasks = _in(alone, "adakron", "tasks")
    assert all(task in tasks for task in SINGLE | PAIRS)
    assert "positive" in _in(alone, "adakron", "predict", "sst2", "A wonderful, moving film.")


def test_image_stops_when_asked(alone: str) -> None:
    """`docker stop` ends the server by its own will, with status 0."""
    docker("stop", "--time=45", alone)
    assert inspect(alone)["State"]["ExitCode"] == 0
