"""Warm-up before the server listens, which the metrics do not count.

Loads the live adapters; lets oneDNN generate its code for each number of rows (adapters/backbone/layers.py); and
measures the throughput that admission predicts latencies with.
"""

import logging
import time

import numpy as np

from adapters.serving.batch import BatchTokens
from service.adapter_cache.cache import AdapterCache
from service.core import AdapterRef
from service.engine.backend import EngineBackend
from service.errors import ServiceError
from service.registry import Snapshot
from service.scheduling.throughput import ThroughputEstimator

MAX_S = 5.0  # on a slow device the first requests do the rest
_STEP, _MOST = (
    16,
    256,
)  # tokens of the batches: one text, or a few; larger ones would cost more than they save
_FULL = 512  # tokens of the batch that measures the throughput
_TEXT_TOKENS = 16

logger = logging.getLogger(__name__)


async def warm_up(
    engine: EngineBackend,
    adapter_cache: AdapterCache,
    throughput: ThroughputEstimator,
    snapshot: Snapshot,
) -> None:
    """Compute batches of usual sizes with a live adapter that is loaded, if there is one."""
    started = time.monotonic()
    live = [version for version in snapshot.live() if adapter_cache.is_resident(version.digest)]
    if live:
        try:
            await _compute(engine, adapter_cache, live[0].adapter, throughput, started + MAX_S)
        except ServiceError as error:
            logger.warning("not warmed up: %s", error)
            return
    logger.info("warmed up in %.1f s", time.monotonic() - started)


async def load_live(adapter_cache: AdapterCache, snapshot: Snapshot) -> None:
    """Load the live adapters as far as they fit, so that no request waits for them; log those that cannot be loaded."""
    for version in snapshot.live():
        if (
            version.quarantined
            or adapter_cache.is_resident(version.digest)
            or not adapter_cache.has_room_for(version.adapter)
        ):
            continue
        try:
            await adapter_cache.warm(version.adapter)
        except ServiceError as error:
            logger.error("%s@%d cannot be loaded: %s", version.task, version.version, error)


async def _compute(
    engine: EngineBackend,
    adapter_cache: AdapterCache,
    adapter: AdapterRef,
    throughput: ThroughputEstimator,
    until: float,
) -> None:
    with adapter_cache.pin(adapter) as resident:
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
