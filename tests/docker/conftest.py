"""One image and one project for all tests of this folder: `make test-docker`."""

import signal
from collections.abc import Iterator

import pytest

from tests.docker.stack import START_S, Stack, is_ready, wait_until

_FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: everything is taken down first


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_FIGURES]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> list[str]:
    """Lines that are shown at the end."""
    return request.config.stash[_FIGURES]


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The single server and Prometheus, ready. At the end, and after a failure, everything is taken down."""
    stack = Stack()
    try:
        stack.up("adakron", "prometheus")
        wait_until(lambda: is_ready(stack.url("PORT")), START_S, "ready")
        yield stack
    finally:
        if request.session.testsfailed:
            _show(request.config, stack.logs())
        stack.down()


@pytest.fixture(scope="session")
def replicas(request: pytest.FixtureRequest, stack: Stack) -> Stack:
    """The same with PostgreSQL and both replicas ready behind the proxy."""
    try:
        stack.up("proxy")
        for service in ("adakron-1", "adakron-2"):
            wait_until(lambda: is_ready(stack.direct_url(service)), START_S, "ready")  # noqa: B023
        wait_until(lambda: is_ready(stack.url("PROXY_PORT")), START_S, "ready")
    except BaseException:
        _show(request.config, stack.logs())
        raise
    return stack


def _show(config: pytest.Config, logs: str) -> None:
    terminal: pytest.TerminalReporter = config.pluginmanager.getplugin("terminalreporter")
    terminal.write_line(f"\n{logs}")
