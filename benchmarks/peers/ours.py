"""AdaKron Serve in the comparison, with default settings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch

from adapters.backbone.source import load_backbone
from adapters.checkpoint import parse
from adapters.serving.inference import predict_logits
from benchmarks.adapters import random_file
from benchmarks.peers.contestant import Asked, Contestant, Running
from benchmarks.peers.shared.served import NUM_TASKS
from benchmarks.serving.load import predict_request
from benchmarks.serving.server import serving, task_name

NAME = "adakron"
PACKAGES = ("torch", "fastapi", "uvicorn")


def our_contestant() -> Contestant:
    """64 random AdaKron adapters with r=48 in every layer."""
    return Contestant(
        name=NAME,
        title="AdaKron Serve",
        num_tasks=NUM_TASKS,
        settings={},
        start=_start,
        request=lambda task, text: predict_request(task_name(task), text),
        read=_read,
        direct=_direct,
        versions=lambda: {name: version(name) for name in PACKAGES},
    )


@contextmanager
def _start() -> Iterator[Running]:
    with serving(NUM_TASKS) as one:
        yield Running(one.port, one.server.process.pid)


def _read(found: Any) -> tuple[str, float]:
    prediction = found["predictions"][0]
    return prediction["label"], prediction["score"]


def _direct(asked: Sequence[Asked]) -> list[list[float]]:
    loaded = load_backbone()
    probabilities = []
    for task, text in asked:
        logits = predict_logits(loaded, parse(random_file(loaded.identity, seed=task)), [text])
        probabilities.append(torch.from_numpy(logits).softmax(dim=-1)[0].tolist())
    return probabilities
