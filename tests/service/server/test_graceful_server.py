"""The end of a server: requests that have reached it are answered."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.backbone.source import LoadedBackbone
from tests.support.factories import make_adapter_bytes
from tests.support.log_lines import written
from tests.support.serving import UPLOAD, Listening, listening

BODY = b'{"inputs": "a good film"}'
HEAD = b"POST /v1/t/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REQUEST = HEAD % len(BODY) + BODY


@contextmanager
def ending(loaded: LoadedBackbone, folder: Path, **settings: Any) -> Iterator[Listening]:
    """Run a server with the task `t`, which must end without an exception in its log."""
    with written(log_level="warning") as lines, listening(loaded, folder, **settings) as server:
        data = make_adapter_bytes(identity=loaded.identity)
        assert server.request("POST", "/admin/v1/tasks/t/versions", UPLOAD, data)[0] == 201
        yield server
    assert [line for line in lines if "exception" in line] == []


def end(server: Listening) -> None:
    """Do what the first signal does, without its wait."""
    assert server.server is not None
    server.state.draining.set()
    server.server.should_exit = True


def connect(server: Listening) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 30)


def read_response(client: socket.socket) -> tuple[int, bool, bytes]:
    """Return status, whether the connection ends, and body."""
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.status, response.getheader("Connection", "") == "close", response.read()


def test_requests_that_were_not_read_yet(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Requests that lie unread when the end begins, on new and on kept connections, are answered."""
    with ending(tiny, tmp_path) as server:
        kept = [connect(server) for _ in range(10)]
        for client in kept:
            client.sendall(REQUEST)
            assert read_response(client)[:2] == (200, False)
        assert server.server is not None
        server.server.servers[0].get_loop().call_soon_threadsafe(time.sleep, 0.5)
        fresh = [connect(server) for _ in range(10)]
        for client in [*kept, *fresh]:
            client.sendall(REQUEST)
        end(server)
        assert [read_response(client)[:2] for client in [*kept, *fresh]] == [(200, True)] * 20
        for client in [*kept, *fresh]:
            client.close()


def test_clients_on_kept_connections_lose_nothing(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Clients that send requests without a pause have every response, the last one with `Connection: close`."""
    ends: list[tuple[int, bool]] = []

    def ask_until_closed(server: Listening, started: threading.Barrier) -> None:
        with connect(server) as client:
            client.sendall(REQUEST)
            response = read_response(client)
            started.wait(30)
            while response[:2] == (200, False):
                client.sendall(REQUEST)
                response = read_response(client)
            ends.append(response[:2])

    with ending(tiny, tmp_path) as server:
        started = threading.Barrier(9)
        clients = [threading.Thread(target=ask_until_closed, args=(server, started)) for _ in range(8)]
        for client in clients:
            client.start()
        started.wait(30)
        server.state.draining.set()
        for client in clients:
            client.join(30)
    assert ends == [(200, True)] * 8


def test_a_request_that_takes_too_long(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A request that is not answered within ADAKRON_SHUTDOWN_TIMEOUT_S gets 503, in the usual shape of errors."""
    with ending(tiny, tmp_path, shutdown_timeout_s=1) as server, connect(server) as client:
        client.sendall(REQUEST)
        assert read_response(client)[0] == 200
        client.sendall(REQUEST[:-5])
        end(server)
        status, closes, body = read_response(client)
        assert (status, closes, json.loads(body)["error_type"]) == (503, True, "shutting_down")
