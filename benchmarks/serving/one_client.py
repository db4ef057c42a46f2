"""One client's latency: where the time of a request goes, from its first byte sent to its last byte received.

One request after the other, one text each, from a client in this process, to two servers in turns: one that exports
OpenTelemetry traces to this process, which give the times inside the server's processes, and one without traces, whose
latency is compared with the bare forward: the engine alone on the same texts, in this process, while no request is
under way. All times are of the machine's one clock. The table has medians.

    ADAKRON_GLUE_DIR=... python -m benchmarks.serving.one_client [--requests 300] [--rounds 5]

Writes benchmarks/results/one_client.json.
"""

import argparse
import http.client
import itertools
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.engine.alone import EngineAlone
from benchmarks.report import Target, report
from benchmarks.sentences import single_texts
from benchmarks.serving.server import HOST, serving, task_name

NUM_TASKS = 64
MAX_BEYOND_MS = 2.0
EXPORT_S = 0.2  # between two exports of the server
WAIT_S = 30.0  # for the last export
STAGES = (  # each ends at the time that `Times` has under the next name
    ("sent", "kernel, parser, first rules"),
    ("head", "key, task, permit, body, validation"),
    ("tokenizing", "tokenizing"),
    ("tokenized", "message to the engine process"),
    ("queued", "queue, batch formed"),
    ("engine", "forward"),
    ("computed", "message back, decoding, JSON, write, log"),
    ("answered", "kernel, client"),
    ("received", ""),
)


@dataclass(frozen=True)
class Asked:
    """One request as its client saw it: nanoseconds of the Unix clock."""

    request_id: str
    sent: int
    received: int


@dataclass
class Collector:
    """An OpenTelemetry collector for OTLP over HTTP, in threads of this process."""

    spans: list[Any] = field(default_factory=list)

    def times(self) -> dict[str, dict[str, int]]:
        """Return the times of each request's stages by its id, in nanoseconds of the Unix clock."""
        requests, children = dict[bytes, Any](), dict[bytes, dict[str, Any]]()
        for span in self.spans:
            if span.parent_span_id:
                children.setdefault(span.parent_span_id, {})[span.name] = span
            else:
                requests[span.span_id] = span
        found = {}
        for number, span in requests.items():
            stages = children.get(number, {})
            if {"tokenize", "queue", "inference"} <= stages.keys():
                ids = {item.key: item.value.string_value for item in span.attributes}
                found[ids["adakron.request_id"]] = {
                    "head": span.start_time_unix_nano,
                    "tokenizing": stages["tokenize"].start_time_unix_nano,
                    "tokenized": stages["tokenize"].end_time_unix_nano,
                    "queued": stages["queue"].start_time_unix_nano,
                    "engine": stages["inference"].start_time_unix_nano,
                    "computed": stages["inference"].end_time_unix_nano,
                    "answered": span.end_time_unix_nano,
                }
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector; servers that are started inside export to it."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent = ExportTraceServiceRequest.FromString(body)
            collector.spans += [
                span for group in sent.resource_spans for scope in group.scope_spans for span in scope.spans
            ]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{server.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": str(round(1000 * EXPORT_S)),
    }
    try:
        with patch.dict(os.environ, variables):
            yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(port: int, texts: Sequence[str], prefix: str) -> list[Asked]:
    """Ask for one text after the other on one connection."""
    found = []
    connection = http.client.HTTPConnection(HOST, port)
    for number, text in enumerate(texts):
        request_id = f"{prefix}-{number}"
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
        body = json.dumps({"inputs": text}).encode()
        sent = time.time_ns()
        connection.request("POST", f"/v1/{task_name(number % NUM_TASKS)}/predict", body, headers)
        answer = connection.getresponse()
        answer.read()
        received = time.time_ns()
        if answer.status != http.client.OK:
            raise RuntimeError(f"answered {answer.status}")
        found.append(Asked(request_id, sent, received))
    connection.close()
    return found


def follow(asked: Sequence[Asked], collector: Collector) -> list[dict[str, int]]:
    """Return the times of each request, waiting for the server's exports. Raises RuntimeError if some are missing."""
    deadline = time.monotonic() + WAIT_S
    while True:
        known = collector.times()
        missing = [one for one in asked if one.request_id not in known]
        if not missing:
            return [{"sent": one.sent, **known[one.request_id], "received": one.received} for one in asked]
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(missing)} of {len(asked)} requests have no complete trace")
        time.sleep(EXPORT_S)


def stage_rows(times: Sequence[dict[str, int]]) -> list[dict[str, object]]:
    """Return one row for each stage, with the median and the 99th percentile of its duration."""
    rows: list[dict[str, object]] = []
    for (begin, what), (end, _) in itertools.pairwise(STAGES):
        durations_ms = [(one[end] - one[begin]) / 1e6 for one in times]
        rows.append(_row(what, durations_ms))
    rows.append(_row("whole request, traced", [(one["received"] - one["sent"]) / 1e6 for one in times]))
    return rows


def _row(what: str, durations_ms: Sequence[float]) -> dict[str, object]:
    return {
        "stage": what,
        "p50 ms": float(np.median(durations_ms)),
        "p99 ms": float(np.percentile(durations_ms, 99)),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="of each round and server")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    texts = single_texts(given.requests)
    engine = EngineAlone(texts, NUM_TASKS)
    engine.forward_s(1)  # warms up
    times: list[dict[str, int]] = []
    plain_ms: list[float] = []
    forward_ms: list[float] = []
    beyond_ms: list[float] = []
    with serving(NUM_TASKS) as plain, collecting() as collector, serving(NUM_TASKS) as traced:
        for server in (plain, traced):
            ask(server.port, texts[:NUM_TASKS], "warm-up")
        for number in range(given.rounds):
            times += follow(ask(traced.port, texts, f"round-{number}"), collector)
            asked = ask(plain.port, texts, f"plain-{number}")
            latencies_ms = [(one.received - one.sent) / 1e6 for one in asked]
            alone_ms = [1000 * one for one in engine.forward_s(sum(latencies_ms) / 1000)]
            plain_ms += latencies_ms
            forward_ms += alone_ms
            beyond_ms.append(float(np.median(latencies_ms) - np.median(alone_ms)))
    rows = [*stage_rows(times), _row("whole request, not traced", plain_ms), _row("bare forward", forward_ms)]
    target = Target("p50 beyond the bare forward, ms", float(np.median(beyond_ms)), "at most", MAX_BEYOND_MS)
    report("one_client", {"tasks": NUM_TASKS, "requests": given.requests, "rounds": given.rounds}, rows, [target])


if __name__ == "__main__":
    main()
