"""Over HTTP, too, an answer does not change by one bit with the company of its text."""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters.backbone.source import load_backbone
from tests.support.factories import make_adapter_bytes
from tests.support.serving import predict, running, upload

WORDS = ["a", "good", "film", "the", "plot", "is", "dull", "and", "actor", "bad", "one", "cat", "sees", "dog", "wine"]
TASKS = {"mean": 12, "cls": 3, "pooler": 5}  # pooling: p


def texts(num: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 60))) for _ in range(num)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("budget", [4096, 512])
def test_alone_and_among_64_others(dtype: str, budget: int, tmp_path: Path) -> None:
    """Raw scores of five texts are equal alone, in one request with 64 others, and beside 64 concurrent requests.

    With a budget of 512 tokens the request of 69 texts is split over batches.
    """
    loaded = load_backbone(dtype=getattr(torch, dtype))
    packed = replace(loaded, backbone=copy.deepcopy(loaded.backbone).pack())
    if not packed.backbone.is_batch_invariant:
        pytest.skip("torch computes here, within a tolerance: tests/adapters/serving/test_invariance.py")
    own, others = texts(5, seed=0), texts(64, seed=1)
    layers = range(loaded.identity.num_layers)
    with running(packed, tmp_path, max_batch_tokens=budget, engine_threads=2, max_inputs=100) as client:

        def scores(task: str, inputs: list[str]) -> list[dict[str, Any]]:
            return [item["scores"] for item in predict(client, task, inputs, raw_scores=True)["predictions"]]

        for pooling, p in TASKS.items():
            upload(client, pooling, make_adapter_bytes(identity=loaded.identity, p=p, layers=layers, pooling=pooling))
        for task in TASKS:
            alone = [scores(task, [text])[0] for text in own]
            assert len({str(one) for one in alone}) == len(own)
            assert scores(task, own + others)[:5] == alone
            assert scores(task, others[:31] + own[::-1] + others[31:])[31:36] == alone[::-1]
            with ThreadPoolExecutor(16) as threads:
                beside = [threads.submit(scores, list(TASKS)[i % 3], [text]) for i, text in enumerate(others)]
                again = [threads.submit(scores, task, [text]) for text in own]
                assert [one.result()[0] for one in again] == alone
                assert all(one.result() for one in beside)
