"""The parts of uvicorn that service/server uses though they are not documented: each is named here.

If one fails after an upgrade of uvicorn, adapt service/server; then raise the cap in pyproject.toml.
"""

import asyncio
import inspect
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn import _types
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from tests.support.paths import ROOT

# Methods that service/server calls or overrides, and their parameters after `self`.
METHODS: list[tuple[Callable[..., Any], list[str]]] = [
    (uvicorn.Server.capture_signals, []),
    (uvicorn.Server.startup, ["sockets"]),
    (uvicorn.Server.shutdown, ["sockets"]),
    (uvicorn.Server.serve, ["sockets"]),
    (uvicorn.Server._log_started_message, ["listeners"]),
    (uvicorn.Config.get_loop_factory, []),
    (HttpToolsProtocol.connection_made, ["transport"]),
    (HttpToolsProtocol.connection_lost, ["exc"]),
    (HttpToolsProtocol.eof_received, []),
    (HttpToolsProtocol.data_received, ["data"]),
    (HttpToolsProtocol.on_message_begin, []),
    (HttpToolsProtocol.on_url, ["url"]),
    (HttpToolsProtocol.on_header, ["name", "value"]),
    (HttpToolsProtocol.on_headers_complete, []),
    (HttpToolsProtocol.on_body, ["body"]),
    (HttpToolsProtocol.on_message_complete, []),
    (HttpToolsProtocol.on_response_complete, []),
    (HttpToolsProtocol.pause_writing, []),
    (HttpToolsProtocol._start_asgi_task, ["cycle", "app"]),
    (RequestResponseCycle.receive, []),
    (RequestResponseCycle.send, ["message"]),
    (FlowControl.resume_reading, []),
    (ProxyHeadersMiddleware.__init__, ["app", "trusted_hosts"]),
]
PROTOCOL_ATTRIBUTES = [
    *("config", "app", "app_state", "loop", "logger", "access_logger", "access_log", "parser", "root_path"),
    *("server_state", "transport", "flow", "client", "pipeline", "scope", "headers", "expect_100_continue", "cycle"),
    "timeout_keep_alive",
]
CYCLE_ARGUMENTS = [
    *("scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers", "message_event"),
    *("expect_100_continue", "keep_alive", "on_response"),
]
CYCLE_ATTRIBUTES = [
    *("disconnected", "keep_alive", "message_event", "response_started", "response_complete", "body", "more_body"),
    *("waiting_for_100_continue", "expected_content_length", "chunked_encoding", "default_headers", "on_response"),
]


@pytest.fixture
def config() -> uvicorn.Config:
    return uvicorn.Config(lambda scope: None, log_config=None, ws="none")  # type: ignore[arg-type]  # never called


def missing(thing: object, names: list[str]) -> list[str]:
    """Return the attributes that `thing` lacks."""
    return [name for name in names if not hasattr(thing, name)]


def test_uvicorn_is_capped() -> None:
    """Only the minor version that these tests ran with may be installed: private names may change in the next."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (requirement,) = (
        requirement for line in project["dependencies"] if (requirement := Requirement(line)).name == "uvicorn"
    )
    assert requirement.specifier.contains(uvicorn.__version__)
    major, minor = (int(part) for part in uvicorn.__version__.split(".")[:2])
    assert not requirement.specifier.contains(f"{major}.{minor + 1}")


@pytest.mark.parametrize(("method", "parameters"), METHODS, ids=lambda value: getattr(value, "__qualname__", ""))
def test_methods_have_their_parameters(method: Callable[..., Any], parameters: list[str]) -> None:
    """service/server calls or overrides this method with these parameters."""
    assert list(inspect.signature(method).parameters)[1:] == parameters


async def test_attributes_of_a_protocol(config: uvicorn.Config) -> None:
    """service/server/connection reads or sets these attributes of HttpToolsProtocol."""
    protocol = HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop())
    assert missing(protocol, PROTOCOL_ATTRIBUTES) == []
    protocol.on_message_begin()
    assert missing(protocol, ["url"]) == []


def test_attributes_of_a_cycle() -> None:
    """service/server/connection creates a RequestResponseCycle with these arguments and uses these attributes."""
    assert list(inspect.signature(RequestResponseCycle).parameters) == CYCLE_ARGUMENTS
    cycle = RequestResponseCycle(**dict.fromkeys(CYCLE_ARGUMENTS))  # type: ignore[arg-type]  # only stored
    assert missing(cycle, CYCLE_ATTRIBUTES) == []


async def test_attributes_of_a_server(config: uvicorn.Config) -> None:
    """GracefulServer uses these attributes of Server and its ServerState; `servers` exists once it has started."""
    server = uvicorn.Server(config)
    assert missing(server, ["should_exit", "started", "server_state"]) == []
    assert missing(server.server_state, ["total_requests", "connections", "tasks", "default_headers"]) == []
    assert "self.servers" in inspect.getsource(uvicorn.Server.startup)
    assert missing(config, ["forwarded_allow_ips"]) == []


async def test_flow_control() -> None:
    """service/server/connection reads these attributes of FlowControl."""
    assert missing(FlowControl(asyncio.Transport()), ["read_paused", "write_paused"]) == []


async def test_trusted_hosts() -> None:
    """`ProxyHeadersMiddleware.trusted_hosts` tells proxies from clients and finds the address of a client."""
    trusted = ProxyHeadersMiddleware(lambda *_: None, "10.0.0.0/8").trusted_hosts  # type: ignore[arg-type]
    assert "10.1.2.3" in trusted
    assert "11.1.2.3" not in trusted
    assert trusted.get_trusted_client_address("1.2.3.4, 10.1.2.3")[0] == "1.2.3.4"


def test_status_lines_and_types() -> None:
    """`STATUS_LINE` has the first line of each response; `_types` has the types of ASGI."""
    assert STATUS_LINE[429] == b"HTTP/1.1 429 Too Many Requests\r\n"
    assert missing(_types, ["HTTPScope", "Scope", "ASGIReceiveCallable", "ASGISendCallable"]) == []


def test_patterns_of_header_fields() -> None:
    """`HEADER_RE` and `HEADER_VALUE_RE` find characters that would break the head of a response."""
    assert HEADER_RE.search(b"x-\r\n") is not None
    assert HEADER_VALUE_RE.search(b"a\nb") is not None
    assert HEADER_RE.search(b"x-request-id") is None
    assert HEADER_VALUE_RE.search(b"a b/c;d=1") is None
