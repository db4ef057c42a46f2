"""Does every answer come from the adapter that it names, while adapters are swapped and evicted all the time?

300 tasks with random adapters, room on the device for 32, 20 publications a second, 32 connections to a server with two
HTTP processes. Every answer names a digest; the answer of that file for the text alone is computed beforehand, and both
must have the same bits. Only where torch computes they may differ by the tolerance of tests/support/invariance.py. The
result says which rule held, and how many pairs of adapters it could not tell apart.

With `--users 200` the tasks are fewer, each has gates for as many users, and an answer must be that of its own user.

    python -m benchmarks.serving.wrong_adapter [--predictions 100000] [--real-predictions 2000] [--users 200]

Writes benchmarks/results/wrong_adapter.json, or wrong_adapter_users.json.
"""

import argparse
import asyncio
import itertools
import json
import random
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import torch

from adapters import checkpoint
from adapters.backbone.quantized import dtype_name
from adapters.backbone.source import LoadedBackbone
from adapters.serving.bank import AdapterBank
from benchmarks.report import Target, report
from benchmarks.serving.load import NO_ANSWER, http_request
from benchmarks.serving.own_answers import TEXTS, Outcome, compare, expected_logits, tell_apart
from service.core import CheckedUpload
from service.engine.worker import load_backbone_for
from service.publishing.checks import check_upload
from service.registry import Registry
from service.settings import Settings
from tests.support.factories import make_adapter_bytes, make_gated_bytes
from tests.support.invariance import tolerance_of
from tests.support.processes import server_process
from tests.support.tiny import make_tiny_backbone

WANTED = (100_000, 2_000)  # answers on the small backbone and on the default one
Q = 4  # of the adapters
NUM_CLIENTS = 32
HTTP_WORKERS = 2
TIMEOUT_S = 60
RETRY_S = 0.05  # after a connection that broke
NUM_GATED = 8  # tasks, if they have users


def measure(
    loaded: LoadedBackbone,
    backbone: str,
    *,
    num_predictions: int,
    num_adapters: int = 300,
    num_users: int = 0,
    room: int = 32,
    swaps_per_s: float = 20,
) -> Outcome:
    """Ask a server on `backbone`, which is `loaded`, `num_predictions` times, and compare each answer.

    With `num_users` there are `num_adapters` tasks with gates for so many users.
    """
    identity = loaded.identity
    p = 12 if identity.hidden_size > 100 else 128  # so that 32 adapters fill the least memory that can be set
    shape: dict[str, Any] = {"identity": identity, "p": p, "q": Q, "layers": range(identity.num_layers)}
    users = [f"user-{number}" for number in range(num_users)]
    make: Callable[..., bytes] = partial(make_gated_bytes, keys=users) if users else make_adapter_bytes
    files = [make(**shape, seed=seed, dtype=torch.float16) for seed in range(num_adapters + num_adapters // 4)]
    expected = expected_logits(loaded, files, users)
    outcome = Outcome(identity.name if identity.hidden_size > 100 else "tiny", num_adapters, room, users)
    metadata = checkpoint.parse(files[0]).metadata
    outcome.tolerance = tolerance_of(loaded.backbone, p * Q)
    tell_apart(outcome, np.stack(list(expected.values())))
    bank = AdapterBank(identity.hidden_size, "cpu", loaded.backbone.dtype)
    memory = room * bank.num_bytes(metadata.num_parameters, 2)
    memory += num_adapters // 2 * len(files[0]) if users else 0  # so that the experts are evicted, too
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = Registry.open(f"sqlite:///{folder / 'registry.sqlite3'}")
        uploads = [check_upload(data) for data in files]
        for index in range(num_adapters):
            registry.publish(f"task-{index}", uploads[index])
        settings = {
            "backbone": backbone,
            "dtype": dtype_name(loaded.backbone),
            "http_workers": str(HTTP_WORKERS),
            "publish_shipped_adapters": "false",
            "registry_poll_s": "0.05",
            "adapter_memory_bytes": str(memory),
        }
        with server_process(folder, **settings) as server:
            swap = partial(_swap, registry, uploads, num_adapters, swaps_per_s, outcome)
            asyncio.run(_run(server.url, swap, num_predictions, outcome))
        registry.close()
    compare(outcome, expected)
    return outcome


async def _run(url: str, swap: Callable[[], Coroutine[Any, Any, None]], num_predictions: int, outcome: Outcome) -> None:
    """Ask on NUM_CLIENTS connections while adapters are swapped, and read from the metrics how many were loaded."""
    started = time.perf_counter()
    swapping = asyncio.create_task(swap())
    tickets = itertools.repeat(None, num_predictions)
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    place = address.hostname, address.port
    await asyncio.gather(*(_ask(place, tickets, random.Random(seed), outcome) for seed in range(NUM_CLIENTS)))
    outcome.seconds = time.perf_counter() - started
    swapping.cancel()
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        text = (await client.get("/metrics")).text
    outcome.num_loads = int(float(text.split("adakron_adapter_load_duration_seconds_count ")[1].split()[0]))


async def _swap(
    registry: Registry, uploads: Sequence[CheckedUpload], num_tasks: int, per_s: float, outcome: Outcome
) -> None:
    draw = random.Random(1)
    begin = time.monotonic()
    for number in itertools.count(1):
        await asyncio.sleep(max(0.0, begin + number / per_s - time.monotonic()))
        await asyncio.to_thread(registry.publish, f"task-{draw.randrange(num_tasks)}", draw.choice(uploads))
        outcome.num_swaps += 1


async def _ask(place: tuple[str, int], tickets: Iterator[None], draw: random.Random, outcome: Outcome) -> None:
    """Ask on one connection, which is opened again when it breaks. A client library would cost more than the server."""
    streams = None
    for _ in tickets:
        task, text, user = draw.randrange(outcome.num_adapters), draw.randrange(len(TEXTS)), outcome.draw_user(draw)
        context = {} if user is None else {"context": {"user": user}}
        body = json.dumps({"inputs": TEXTS[text], "raw_scores": True} | context).encode()
        try:
            streams = streams or await asyncio.open_connection(*place)
            status, answer = await asyncio.wait_for(_post(*streams, f"/v1/task-{task}/predict", body), TIMEOUT_S)
        except (OSError, EOFError, TimeoutError):
            streams, status, answer = None, NO_ANSWER, {}
            await asyncio.sleep(RETRY_S)
        outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
        if status == 200:
            logits = list(answer["predictions"][0]["scores"].values())
            outcome.answers.append((outcome.name(answer["digest"], user), text, logits))
            outcome.num_wrong_gates += answer.get("gate") != outcome.gate(user)
        elif status != NO_ANSWER:
            outcome.errors.add(json.dumps(answer.get("error_type")))
    if streams is not None:
        streams[1].close()


async def _post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes
) -> tuple[int, dict[str, Any]]:
    """Return status and JSON body. Raises EOFError, OSError when the connection breaks."""
    writer.write(http_request(path, body))
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    answer = json.loads(await reader.readexactly(int(fields[b"content-length"])))
    return int(head.split(b" ", 2)[1]), answer


def main() -> None:
    """Measure on both backbones, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=WANTED[0])
    parser.add_argument("--real-predictions", type=int, default=WANTED[1])
    parser.add_argument("--users", type=int, default=0)
    given = parser.parse_args()
    tasks = {"num_users": given.users, "num_adapters": NUM_GATED} if given.users else {}
    with tempfile.TemporaryDirectory() as folder:
        tiny = str(make_tiny_backbone(Path(folder) / "tiny"))
        loaded = load_backbone_for(Settings(backbone=tiny))
        outcomes = [measure(loaded, tiny, num_predictions=given.predictions, **tasks)]
    default = Settings()
    loaded = load_backbone_for(default)
    outcomes.append(measure(loaded, default.backbone, num_predictions=given.real_predictions, **tasks))
    rows = [
        {
            "backbone": one.backbone,
            ("tasks" if given.users else "adapters"): one.num_adapters,
            "room": one.room,
            "answers": one.num_predictions,
            "wrong": one.num_wrong,
            "not 200": one.num_other,
            "largest difference": one.largest_difference,
            "rule": one.rule,
            "adapters apart": one.least_distance,
            "answers/s": one.num_predictions / one.seconds,
            "swaps/s": one.num_swaps / one.seconds,
            "loads": one.num_loads,
        }
        for one in outcomes
    ]
    wrong = sum(one.num_wrong for one in outcomes)
    alike = sum(one.num_alike for one in outcomes)
    least = min(one.num_predictions / wanted for one, wanted in zip(outcomes, WANTED, strict=True))
    targets = [
        Target("answers that are not what the named digest computes alone", wrong, "at most", 0),
        Target("pairs of adapters that the rule cannot tell apart", alike, "at most", 0),
        Target("requests that were not answered 200", sum(one.num_other for one in outcomes), "at most", 0),
        Target("answers compared, of 100,000 and 2,000", least, "at least", 1),
    ]
    name = "wrong_adapter_users" if given.users else "wrong_adapter"
    settings = {"clients": NUM_CLIENTS, "HTTP processes": HTTP_WORKERS, "texts": len(TEXTS)}
    report(name, settings | ({"users of each task": given.users} if given.users else {}), rows, targets)


if __name__ == "__main__":
    main()
