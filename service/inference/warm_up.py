"""Warm-up: what the first requests would wait for is done before the server listens, and counted nowhere.

A tokenizer is read for each rule of special tokens; oneDNN makes its code for each number of rows
(adapters/backbone/layers.py); and the throughput of the engine is known before the first answer is promised.
"""

import logging
import time

import numpy as np

from adapters.serving.batch import BatchTokens
from service.adapter_cache.cache import AdapterCache
from service.core import PublishedVersion
from service.engine.backend import EngineBackend
from service.errors import ServiceError
from service.inference.tokenizer import Tokenizer
from service.registry import Snapshot
from service.scheduling.throughput import ThroughputEstimator

MAX_S = 5.0  # on a slow device the rest is left to the first requests
_STEP, _MOST = 16, 256  # tokens of the batches: one text, or a few; larger ones take longer than what they wait for
_FULL = 512  # tokens, of the batch that tells the throughput
_TEXT_TOKENS = 16

logger = logging.getLogger(__name__)


async def warm_up(
    engine: EngineBackend,
    adapter_cache: AdapterCache,
    tokenizer: Tokenizer,
    throughput: ThroughputEstimator,
    snapshot: Snapshot,
) -> None:
    """With the tasks that are live. One that cannot be loaded is passed over: its requests say why."""
    started = time.monotonic()
    live = [version for version in snapshot.live() if adapter_cache.is_resident(version.digest)]
    for version in {version.spec.special_tokens: version for version in live}.values():
        await tokenizer.encode(["a"], version.task, version.spec)
    if live:
        try:
            await _compute(engine, adapter_cache, live[0], throughput, started + MAX_S)
        except ServiceError as error:
            logger.warning("not warmed up: %s", error)
            return
    logger.info("warmed up in %.1f s", time.monotonic() - started)


async def _compute(
    engine: EngineBackend,
    adapter_cache: AdapterCache,
    version: PublishedVersion,
    throughput: ThroughputEstimator,
    until: float,
) -> None:
    with adapter_cache.pin(version) as resident:
        slot = await resident.wait_slot()
        for num_tokens in range(_STEP, _MOST + 1, _STEP):
            await engine.compute(await engine.prepare(_batch(slot, num_tokens)))
            if time.monotonic() > until:
                return
        began = time.monotonic()
        await engine.compute(await engine.prepare(_batch(slot, _FULL)))
        throughput.observe(_FULL, time.monotonic() - began, full=True)


def _batch(slot: int, num_tokens: int) -> BatchTokens:
    num_inputs = num_tokens // _TEXT_TOKENS
    return BatchTokens(
        slots=[slot],
        num_inputs=[num_inputs],
        lengths=np.full(num_inputs, _TEXT_TOKENS),
        token_ids=np.ones(num_tokens, dtype=np.int64),
        type_ids=np.zeros(num_tokens, dtype=np.int64),
    )
