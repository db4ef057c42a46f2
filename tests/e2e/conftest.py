"""One server for all the tests here, as a user starts it."""

from collections.abc import Iterator

import pytest

from tests.support.processes import Server, server_process


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service with its default settings, on a free port and an empty folder."""
    with server_process(tmp_path_factory.mktemp("server")) as server:
        yield server
