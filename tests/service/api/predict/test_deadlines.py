"""Deadlines, departures and overload of predictions, through HTTP: in whatever stage, at once, and never computed."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from adapters.serving.batch import BatchTokens
from service.adapter_cache.residency import Resident
from service.engine.engine import Engine, PreparedBatch
from service.inference.tokenizer import Tokenizer
from tests.support.factories import make_adapter_bytes
from tests.support.serving import UPLOAD, Listening, listening, predict, running, upload

WAIT_S = 60  # for what happens in a moment
JSON = {"Content-Type": "application/json"}
BODY = b'{"inputs": "a good film"}'


COMPUTE = Engine.compute


class Gate:
    """Holds the engine's batches back while it is closed, and knows what was computed."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.num_inputs: list[int] = []
        self.busy = threading.Event()

    async def compute(self, engine: Engine, prepared: PreparedBatch | BatchTokens) -> list[np.ndarray]:
        self.busy.set()
        assert isinstance(prepared, BatchTokens), "a small batch"
        self.num_inputs.append(len(prepared.lengths))
        await asyncio.to_thread(self.is_open.wait)
        return await COMPUTE(engine, prepared)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(Engine, "compute", lambda engine, prepared: gate.compute(engine, prepared))
    yield gate
    gate.is_open.set()


@pytest.fixture
def client(tiny: LoadedBackbone, tmp_path: Path, gate: Gate) -> Iterator[TestClient]:
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        yield client
        gate.is_open.set()


def timed(client: TestClient, limit_ms: str, task: str = "t") -> tuple[int, str]:
    """Status and error_type of a prediction with a time limit."""
    response = client.post(f"/v1/{task}/predict", json={"inputs": "a"}, headers={"X-Request-Timeout-Ms": limit_ms})
    return response.status_code, response.json().get("error_type", "")


def test_in_a_batch(client: TestClient, gate: Gate) -> None:
    """A request whose batch takes too long is answered at its time, not when the batch ends; the connection stays."""
    assert timed(client, "50") == (504, "timeout")
    assert gate.num_inputs == [1]
    gate.is_open.set()
    assert timed(client, "60000") == (200, "")


def test_in_the_queue(client: TestClient, gate: Gate) -> None:
    """A request that waits behind a batch is answered at its time, and never computed."""
    with ThreadPoolExecutor() as pool:
        running = pool.submit(timed, client, "60000")
        assert gate.busy.wait(WAIT_S)
        assert timed(client, "50") == (504, "timeout")
        gate.is_open.set()
        assert running.result() == (200, "")
    assert timed(client, "60000") == (200, "")
    assert gate.num_inputs == [1, 1]


@pytest.mark.parametrize("stage", ["tokenizer", "adapter"])
def test_before_the_queue(client: TestClient, gate: Gate, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """A request is answered at its time while it is tokenized, and while its adapter is loaded."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    if stage == "tokenizer":
        monkeypatch.setattr(Tokenizer, "encode", never)
    else:
        monkeypatch.setattr(Resident, "is_loaded", False)
        monkeypatch.setattr(Resident, "wait_slot", never)
    assert timed(client, "50") == (504, "timeout")
    assert gate.num_inputs == []


def test_default_from_the_settings(tiny: LoadedBackbone, tmp_path: Path, gate: Gate) -> None:
    """Without the header the setting holds, and the header can ask for no more than its cap."""
    with running(tiny, tmp_path, request_timeout_s=0.05, max_request_timeout_s=0.06) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        assert client.post("/v1/t/predict", json={"inputs": "a"}).status_code == 504
        assert timed(client, "999999999999999") == (504, "timeout")
        gate.is_open.set()


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "1e3", "soon", "0x10", "9" * 16, "٣", "+1"])
def test_malformed(client: TestClient, value: str) -> None:
    """A value that is not a positive whole number is 422, and the error says what is valid."""
    headers = [(b"X-Request-Timeout-Ms", value.encode())]
    response = client.post("/v1/t/predict", json={"inputs": "a"}, headers=headers)
    assert (response.status_code, response.json()["error_type"]) == (422, "validation")
    assert "X-Request-Timeout-Ms" in response.json()["error"]


def test_the_header_is_documented(client: TestClient) -> None:
    """OpenAPI has it, and the answers that it leads to."""
    operation = client.get("/openapi.json").json()["paths"]["/v1/{task}/predict"]["post"]
    assert "X-Request-Timeout-Ms" in {parameter["name"] for parameter in operation["parameters"]}
    assert {"429", "504"} <= set(operation["responses"])


def test_no_deadline_leaves_anything_behind(client: TestClient, gate: Gate) -> None:
    """After requests that were late in every way all permits are free again."""
    for _ in range(3):
        timed(client, "20")
    gate.is_open.set()
    predict(client, "t", "a")
    text = client.get("/metrics").text
    assert "adakron_queue_depth 0.0" in text
    assert 'adakron_requests_total{code="504",task="t"} 3.0' in text


@pytest.fixture
def server(tiny: LoadedBackbone, tmp_path: Path, gate: Gate) -> Iterator[Listening]:
    """On a real socket, with room for four requests."""
    with listening(tiny, tmp_path, max_queued_requests=4) as server:
        data = make_adapter_bytes(identity=tiny.identity)
        for task in ("t", "u", "v"):
            assert server.request("POST", f"/admin/v1/tasks/{task}/versions", UPLOAD, data)[0] == 201
        yield server
        gate.is_open.set()


def raw_request(headers: str = "", body: bytes = BODY, task: str = "t") -> bytes:
    head = f"POST /v1/{task}/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def wait_for(server: Listening, line: str) -> None:
    """Until the metrics show `line`."""
    until = time.monotonic() + WAIT_S
    while line.encode() not in server.request("GET", "/metrics")[1]:
        assert time.monotonic() < until, line
        time.sleep(0.005)


@pytest.mark.parametrize("resets", [False, True])
def test_a_client_that_leaves(server: Listening, gate: Gate, resets: bool) -> None:
    """A client that closes its connection while its request waits is counted as 499, and it is never computed."""
    with ThreadPoolExecutor() as pool:
        running = pool.submit(server.request, "POST", "/v1/t/predict", JSON, BODY)
        assert gate.busy.wait(WAIT_S)
        with socket.create_connection(("127.0.0.1", server.port)) as leaving:
            leaving.sendall(raw_request())
            wait_for(server, "adakron_queue_depth 1.0")
            if resets:
                leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wait_for(server, 'adakron_requests_total{code="499",task="t"} 1.0')
        wait_for(server, "adakron_queue_depth 0.0")
        gate.is_open.set()
        assert running.result()[0] == 200
    assert server.request("POST", "/v1/t/predict", JSON, BODY)[0] == 200
    assert gate.num_inputs == [1, 1]


def test_a_client_that_half_closes(server: Listening, gate: Gate) -> None:
    """A client that only closes its sending half has not left: it gets its answers; if it then leaves, that is 499."""
    with ThreadPoolExecutor() as pool:
        running = pool.submit(server.request, "POST", "/v1/t/predict", JSON, BODY)
        assert gate.busy.wait(WAIT_S)
        patient = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)
        leaving = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)
        for connection in (patient, leaving):
            connection.sendall(raw_request())
            connection.shutdown(socket.SHUT_WR)
        wait_for(server, "adakron_queue_depth 2.0")
        time.sleep(0.2)  # time enough to be taken for a departure
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        leaving.close()
        wait_for(server, 'adakron_requests_total{code="499",task="t"} 1.0')
        wait_for(server, "adakron_queue_depth 1.0")
        gate.is_open.set()
        with patient:
            assert b"HTTP/1.1 200 OK\r\n" in read_answer(patient)
            assert patient.recv(1) == b""
        assert running.result()[0] == 200
    assert gate.num_inputs == [1, 1]


def test_the_connection_stays_usable(server: Listening, gate: Gate) -> None:
    """After 504, with the body read or not yet sent, the same connection carries the next request."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as connection:
        late = raw_request("X-Request-Timeout-Ms: 50\r\n")
        connection.sendall(late)
        assert b" 504 " in read_answer(connection)
        connection.sendall(late[: -len(BODY)])
        assert b" 504 " in read_answer(connection)
        gate.is_open.set()
        connection.sendall(BODY + raw_request())
        assert b" 200 " in read_answer(connection)


def read_answer(connection: socket.socket) -> bytes:
    """Head and body of one."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def test_overload_is_refused_before_the_body(server: Listening, gate: Gate) -> None:
    """When requests are exhausted one more is 429 while its body has not come, with a time to wait; a task that holds
    little still gets in until nothing is free; and the same connection works when there is room again."""
    with ThreadPoolExecutor() as pool:
        for number in range(3):
            pool.submit(server.request, "POST", "/v1/t/predict", JSON, BODY)
            assert gate.busy.wait(WAIT_S)
            wait_for(server, f"adakron_queue_depth {float(number)}")
        with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as connection:
            connection.sendall(raw_request()[: -len(BODY)])
            answer = read_answer(connection)
            assert b" 429 " in answer
            assert b'"error_type":"overloaded"' in answer
            assert int(answer.lower().split(b"retry-after:")[1].split(b"\r\n")[0]) >= 1
            other = pool.submit(server.request, "POST", "/v1/u/predict", JSON, BODY)
            wait_for(server, "adakron_queue_depth 3.0")
            assert server.request("POST", "/v1/v/predict", JSON, BODY)[0] == 429
            wait_for(server, 'adakron_rejected_total{reason="queued_requests"} 2.0')
            gate.is_open.set()
            assert other.result()[0] == 200
            wait_for(server, "adakron_queue_depth 0.0")
            connection.sendall(BODY + raw_request())
            assert b" 200 " in read_answer(connection)
    wait_for(server, 'adakron_requests_total{code="429",task="t"} 1.0')
