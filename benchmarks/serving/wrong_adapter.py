"""Does every answer come from the adapter that it names, while adapters are swapped and evicted all the time?

300 tasks with random adapters, room on the device for 32, 20 publications a second, 32 connections to a server with two
HTTP processes. Every answer names a digest; the answer of that file for the text alone is computed
beforehand, and both must be equal within the tolerance of tests/support/invariance.py. Answers of different adapters
differ at least twenty times as much.

    python -m benchmarks.serving.wrong_adapter [--predictions 100000] [--real-predictions 2000]

Writes benchmarks/results/wrong_adapter.json.
"""

import argparse
import asyncio
import itertools
import json
import random
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from benchmarks.report import Target, report
from benchmarks.serving.load import NO_ANSWER
from service.core import CheckedUpload
from service.engine.engine import Engine
from service.engine.worker import engine_threads, load_backbone_for
from service.publishing.checks import check_upload
from service.registry import Registry
from service.settings import Settings
from tests.support.factories import make_adapter_bytes
from tests.support.invariance import BATCH_TOLERANCE, same_answer
from tests.support.processes import server_process
from tests.support.tiny import make_tiny_backbone

WANTED = (100_000, 2_000)  # answers on the small backbone and on the default one
TEXTS = ("a good film", "the plot is dull and the actor is bad", "one two three four five", "?", "warm wine , cold sea")
NUM_CLIENTS = 32
HTTP_WORKERS = 2


@dataclass
class Outcome:
    """The observations of one run."""

    backbone: str
    num_adapters: int
    room: int
    num_predictions: int = 0
    num_wrong: int = 0
    largest_difference: float = 0.0  # of a logit, from what the named digest computes alone
    least_distance: float = 0.0  # between two adapters' answers to one text, over the tolerance
    num_swaps: int = 0
    num_loads: int = 0
    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)  # how many answers had each
    errors: set[str] = field(default_factory=set)  # kinds of error of those that were not 200

    @property
    def num_other(self) -> int:
        """Requests that were not answered 200."""
        return sum(number for status, number in self.statuses.items() if status != 200)


def expected_logits(loaded: LoadedBackbone, files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Return by digest the logits [texts, outputs] of each adapter for each text alone."""
    bank = AdapterBank(loaded.identity.hidden_size, loaded.backbone.device, loaded.backbone.dtype)
    engine, found = Engine(loaded.backbone, bank, engine_threads(Settings())), {}
    encodings = loaded.encoder.encode(list(TEXTS), max_length=64)
    for data in files:
        adapter = checkpoint.parse(data)
        bank.write(0, adapter)
        batches = [BatchTokens.of([(0, [encoding])]) for encoding in encodings]
        found[adapter.digest] = np.stack([engine.forward(batch)[0][0] for batch in batches])
    engine.close()
    return found


def measure(
    loaded: LoadedBackbone,
    backbone: str,
    *,
    num_predictions: int,
    num_adapters: int = 300,
    room: int = 32,
    swaps_per_s: float = 20,
) -> Outcome:
    """Ask a server on `backbone`, which is `loaded`, `num_predictions` times, and compare each answer."""
    identity = loaded.identity
    p = 12 if identity.hidden_size > 100 else 600  # so that 32 adapters fill the least memory that can be set
    layers = range(identity.num_layers)
    files = [
        make_adapter_bytes(identity=identity, p=p, layers=layers, seed=seed, dtype=torch.float16)
        for seed in range(num_adapters + num_adapters // 4)
    ]
    expected = expected_logits(loaded, files)
    outcome = Outcome(identity.name if identity.hidden_size > 100 else "tiny", num_adapters, room)
    tolerance = BATCH_TOLERANCE[loaded.backbone.device.type, loaded.backbone.dtype]
    answers = np.stack(list(expected.values()))  # [adapters, texts, outputs]
    for index in range(len(answers) - 1):
        apart = np.abs(answers[index + 1 :] - answers[index]).max(-1).min() / tolerance
        outcome.least_distance = min(outcome.least_distance or apart, float(apart))
    metadata = checkpoint.parse(files[0]).metadata
    bank = AdapterBank(identity.hidden_size, "cpu", loaded.backbone.dtype)
    memory = room * bank.num_bytes(metadata.num_parameters, 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = Registry.open(f"sqlite:///{folder / 'registry.sqlite3'}")
        uploads = [check_upload(data) for data in files]
        for index in range(num_adapters):
            registry.publish(f"task-{index}", uploads[index])
        settings = {
            "backbone": backbone,
            "http_workers": str(HTTP_WORKERS),
            "publish_shipped_adapters": "false",
            "registry_poll_s": "0.05",
            "adapter_memory_bytes": str(memory),
        }
        with server_process(folder, **settings) as server:
            swap = partial(_swap, registry, uploads, num_adapters, swaps_per_s, outcome)
            asyncio.run(_run(server.url, swap, expected, loaded, num_predictions, outcome))
        registry.close()
    return outcome


async def _run(
    url: str,
    swap: Callable[[], Coroutine[Any, Any, None]],
    expected: dict[str, np.ndarray],
    loaded: LoadedBackbone,
    num_predictions: int,
    outcome: Outcome,
) -> None:
    """Ask on NUM_CLIENTS connections while adapters are swapped, and read from the metrics how many were loaded."""
    started = time.perf_counter()
    swapping = asyncio.create_task(swap())
    tickets = itertools.repeat(None, num_predictions)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60)) for _ in range(NUM_CLIENTS)
        ]
        await asyncio.gather(
            *(
                _ask(client, tickets, random.Random(seed), expected, loaded, outcome)
                for seed, client in enumerate(clients)
            )
        )
        outcome.seconds = time.perf_counter() - started
        swapping.cancel()
        text = (await clients[0].get("/metrics")).text
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


async def _ask(
    client: httpx.AsyncClient,
    tickets: Iterator[None],
    draw: random.Random,
    expected: dict[str, np.ndarray],
    loaded: LoadedBackbone,
    outcome: Outcome,
) -> None:
    for _ in tickets:
        task, text = draw.randrange(outcome.num_adapters), draw.randrange(len(TEXTS))
        body = {"inputs": TEXTS[text], "raw_scores": True}
        try:
            response = await client.post(f"/v1/task-{task}/predict", json=body)
        except httpx.TransportError:
            outcome.statuses[NO_ANSWER] = outcome.statuses.get(NO_ANSWER, 0) + 1
            continue
        outcome.statuses[response.status_code] = outcome.statuses.get(response.status_code, 0) + 1
        if response.status_code != 200:
            outcome.errors.add(json.dumps(response.json().get("error_type")))
            continue
        answer = response.json()
        alone = expected[answer["digest"]][text]
        logits = np.array(list(answer["predictions"][0]["scores"].values()), np.float32)
        outcome.num_predictions += 1
        outcome.largest_difference = max(outcome.largest_difference, float(np.abs(logits - alone).max()))
        if not same_answer(alone, logits, BATCH_TOLERANCE[loaded.backbone.device.type, loaded.backbone.dtype]):
            outcome.num_wrong += 1


def main() -> None:
    """Measure on both backbones, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=WANTED[0])
    parser.add_argument("--real-predictions", type=int, default=WANTED[1])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tiny = str(make_tiny_backbone(Path(folder) / "tiny"))
        outcomes = [measure(load_backbone_for(Settings(backbone=tiny)), tiny, num_predictions=given.predictions)]
    default = Settings()
    outcomes.append(measure(load_backbone_for(default), default.backbone, num_predictions=given.real_predictions))
    rows = [
        {
            "backbone": one.backbone,
            "adapters": one.num_adapters,
            "room": one.room,
            "answers": one.num_predictions,
            "wrong": one.num_wrong,
            "not 200": one.num_other,
            "largest difference": one.largest_difference,
            "adapters apart, in tolerances": one.least_distance,
            "swaps/s": one.num_swaps / one.seconds,
            "loads": one.num_loads,
        }
        for one in outcomes
    ]
    wrong = sum(one.num_wrong for one in outcomes)
    least = min(one.num_predictions / wanted for one, wanted in zip(outcomes, WANTED, strict=True))
    targets = [
        Target("answers that are not what the named digest computes alone", wrong, "at most", 0),
        Target("requests that were not answered 200", sum(one.num_other for one in outcomes), "at most", 0),
        Target("answers compared, of 100,000 and 2,000", least, "at least", 1),
    ]
    report(
        "wrong_adapter", {"clients": NUM_CLIENTS, "HTTP processes": HTTP_WORKERS, "texts": len(TEXTS)}, rows, targets
    )


if __name__ == "__main__":
    main()
