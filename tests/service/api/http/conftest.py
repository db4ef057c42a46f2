"""A server with room for one request, which another client holds."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.factories import make_adapter_bytes
from tests.support.raw_client import BODY, WAIT_S, Client, head
from tests.support.serving import UPLOAD, Listening, listening


@pytest.fixture
def server(tiny: LoadedBackbone, tmp_path: Path) -> Iterator[Listening]:
    """A server that admits one request at a time."""
    with listening(tiny, tmp_path, max_queued_requests=1) as server:
        data = make_adapter_bytes(identity=tiny.identity)
        assert server.request("POST", "/admin/v1/tasks/t/versions", UPLOAD, data)[0] == 201
        yield server


@pytest.fixture
def holder(server: Listening) -> Iterator[Client]:
    """A client whose request has the one permit until it sends its body."""
    holder = Client(server.port)
    holder.send(head())
    until = time.monotonic() + WAIT_S
    while server.request("POST", "/v1/t/predict", {"Content-Type": "application/json"}, BODY)[0] != 429:
        assert time.monotonic() < until
    yield holder
    holder.close()


@pytest.fixture
def client(server: Listening, holder: Client) -> Iterator[Client]:
    client = Client(server.port)
    yield client
    client.close()
