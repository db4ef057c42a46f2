"""New versions and moved aliases under load, with 4,096 tasks: no request fails, and each answer is its version's.

While several processes ask for all tasks, one client uploads a version, waits until it answers, and points `live` back
to the version before. Each of those answers is compared with what its version computes in float32 on the CPU; two
versions of a task differ by more than the tolerance.
"""

import http.client
import json
import time
from dataclasses import dataclass, field

import numpy as np
import torch

from adapters import checkpoint
from adapters.backbone.source import load_backbone
from adapters.serving.inference import predict_logits
from adapters.serving.verification import TOLERANCE
from benchmarks.gpu.answers import strong_adapter
from benchmarks.gpu.findings import Recorder
from benchmarks.gpu.load import describe_refusals, join, load_all, predict_requests, start_loads
from benchmarks.gpu.scale import Surroundings, front_end_settings
from benchmarks.gpu.texts import random_sentences
from benchmarks.report import Target
from benchmarks.serving.server import HOST, task_name
from tests.support.processes import Server, server_process

TEXT = "a text whose answer shows its version"
FRESH_S = 10.0  # in which a moved alias must answer; then the step fails
LOAD_CLIENTS = 64


@dataclass
class Outcome:
    """The observations of the client that swaps."""

    upload_ms: list[float] = field(default_factory=list)
    move_ms: list[float] = field(default_factory=list)
    fresh_ms: list[float] = field(default_factory=list)  # from the change's answer to the first of the new version
    num_stale: int = 0  # answers of the version before, after the change was answered
    num_wrong: int = 0  # answers that are not what their version computes
    in_tolerances: float = 0.0  # the largest difference


class Swapper:
    """A client of the admin API that knows the answer of each version that it uploads."""

    def __init__(self, server: Server, tolerance: float) -> None:
        self._connection = http.client.HTTPConnection(HOST, int(server.url.rpartition(":")[2]), timeout=60)
        self._key, self._tolerance = server.headers, tolerance
        self.outcome = Outcome()

    def upload(self, task: str, data: bytes) -> int:
        """Upload a version, which becomes live, and return its number."""
        headers = self._key | {"Content-Type": "application/octet-stream"}
        started = time.monotonic()
        answer = self._send("POST", f"/admin/v1/tasks/{task}/versions?allow_incompatible=true", data, headers)
        self.outcome.upload_ms.append(1000 * (time.monotonic() - started))
        return int(answer["version"])

    def move(self, task: str, version: int) -> None:
        """Point `live` at a version."""
        headers = self._key | {"Content-Type": "application/json"}
        started = time.monotonic()
        body = json.dumps({"version": version}).encode()
        self._send("PUT", f"/admin/v1/tasks/{task}/aliases/live?allow_incompatible=true", body, headers)
        self.outcome.move_ms.append(1000 * (time.monotonic() - started))

    def check(self, task: str, version: int, expected: np.ndarray) -> None:
        """Ask until `version` answers, and compare its logits. Raises RuntimeError if it does not in FRESH_S."""
        body = json.dumps({"inputs": TEXT, "raw_scores": True}).encode()
        started = time.monotonic()
        while time.monotonic() - started < FRESH_S:
            answer = self._send("POST", f"/v1/{task}/predict", body, {"Content-Type": "application/json"})
            if answer["version"] == version:
                break
            self.outcome.num_stale += 1
        else:
            raise RuntimeError(f"version {version} of {task} does not answer {FRESH_S:g} s after its alias moved")
        self.outcome.fresh_ms.append(1000 * (time.monotonic() - started))
        got = np.array(list(answer["predictions"][0]["scores"].values()))
        apart = float((np.abs(got - expected) / (self._tolerance * (1 + np.abs(expected)))).max())
        self.outcome.in_tolerances = max(self.outcome.in_tolerances, apart)
        self.outcome.num_wrong += apart > 1

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> dict[str, object]:
        """Send on a fresh connection, because the server may have closed the last one. Raises RuntimeError."""
        self._connection.close()
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {response.status}: {text[:200]!r}")
        answer: dict[str, object] = json.loads(text)
        return answer


def run(surroundings: Surroundings, record: Recorder) -> None:
    """Swap under load, and record the outcome."""
    scale = surroundings.scale
    reference = load_backbone(surroundings.backbone)
    adapters = [strong_adapter(reference.identity, seed) for seed in range(2 * scale.num_swaps)]
    files = [checkpoint.serialize(one.metadata, one.tensors, torch.float16) for one in adapters]
    expected = [predict_logits(reference, checkpoint.parse(data), [TEXT])[0] for data in files]
    tolerance = TOLERANCE[surroundings.dtype_name]
    apart = min(
        float((np.abs(one - other) / (tolerance * (1 + np.abs(one)))).max())
        for one, other in zip(expected[::2], expected[1::2], strict=True)
    )
    tasks = [task_name(task) for task in range(scale.num_tasks)]
    requests = predict_requests(tasks, random_sentences(reference.source, len(tasks)), 1)
    settings = surroundings.server_settings | front_end_settings(max(scale.front_ends))
    with server_process(surroundings.data_folder, **settings) as server:
        swapper = Swapper(server, tolerance)
        seconds = 5 * scale.seconds
        port = int(server.url.rpartition(":")[2])
        load_all(port, tasks, scale.load_processes, scale.seconds / 2)
        loads = start_loads(port, requests, LOAD_CLIENTS, scale.load_processes, seconds, scale.seconds / 4)
        end = time.monotonic() + seconds - 2 * scale.seconds / 4
        num_swapped = 0
        for number in range(scale.num_swaps):
            if time.monotonic() > end:
                break
            task = tasks[number * len(tasks) // scale.num_swaps]
            versions = []
            for place in (2 * number, 2 * number + 1):
                versions.append(swapper.upload(task, files[place]))
                swapper.check(task, versions[-1], expected[place])
            swapper.move(task, versions[0])
            swapper.check(task, versions[0], expected[2 * number])
            num_swapped += 1
        found = join(loads)
    outcome = swapper.outcome
    failed = len(found) - len(found.of(200))
    record.row(
        tasks=scale.num_tasks,
        requests_s=found.throughput(),
        p50_ms=found.percentile_ms(50),
        p99_ms=found.percentile_ms(99),
        not_200=failed,
        uploads=len(outcome.upload_ms),
        alias_moves=len(outcome.move_ms),
        upload_p50_ms=float(np.median(outcome.upload_ms)),
        move_p50_ms=float(np.median(outcome.move_ms)),
        fresh_p99_ms=float(np.percentile(outcome.fresh_ms, 99)),
        stale=outcome.num_stale,
        in_tolerances=outcome.in_tolerances,
        versions_apart=apart,
    )
    if failed:
        record.note(describe_refusals(found))
    record.target(Target("requests beside the swaps not answered with 200", failed, "at most", 0), required=True)
    record.target(Target("answers that are not their version's", outcome.num_wrong, "at most", 0), required=True)
    record.target(Target("tolerances between two versions of a task", apart, "at least", 2), required=True)
    record.target(Target("tasks swapped", num_swapped, "at least", 1), required=True)
    record.target(
        Target("answers of the version before, after the change was answered", outcome.num_stale, "at most", 0)
    )
