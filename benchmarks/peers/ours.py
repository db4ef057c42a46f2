"""AdaKron Serve in the comparison, with default settings except for ADAKRON_DTYPE."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, get_args

import torch

from adapters.backbone.source import load_backbone
from adapters.checkpoint import parse
from adapters.serving.inference import predict_logits
from benchmarks.adapters import random_file
from benchmarks.peers.contestant import TOLERANCE, TOLERANCE_16_BITS, Asked, Contestant, Running
from benchmarks.peers.shared.served import NUM_TASKS
from benchmarks.serving.load import predict_request
from benchmarks.serving.server import serving, task_name
from service.settings import Settings

NAME = "adakron"
PACKAGES = ("torch", "fastapi", "uvicorn")


def our_dtypes() -> list[str]:
    """Return the types that a CPU may be faster in, of those that this version has."""
    known = get_args(Settings.model_fields["dtype"].annotation)
    return [dtype for dtype in ("float32", "bfloat16", "int8") if dtype in known]


def our_contestant(dtype: str) -> Contestant:
    """64 random AdaKron adapters with r=48 in every layer; `dtype` is ADAKRON_DTYPE."""

    @contextmanager
    def start() -> Iterator[Running]:
        with serving(NUM_TASKS, dtype=dtype) as one:
            yield Running(one.port, one.server.process.pid)

    return Contestant(
        name=f"{NAME} {dtype}",
        title=f"AdaKron Serve, {dtype}",
        num_tasks=NUM_TASKS,
        settings={"dtype": dtype},
        start=start,
        tolerance=TOLERANCE if dtype == "float32" else TOLERANCE_16_BITS,
        is_ours=True,
        request=lambda task, text: predict_request(task_name(task), text),
        read=_read,
        direct=_direct,
        versions=lambda: {name: version(name) for name in PACKAGES},
    )


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
