"""Engine: BatchTokens -> logits, on the device, in threads of its own.

On the CPU a large batch is cut into shards, and each thread computes whole shards alone, so that small operations leave
no core waiting. A small batch is computed by all threads together (docs/performance.md).
"""

import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from adapters.backbone.encoder import Backbone
from adapters.backbone.packing import Packing
from adapters.method.model import pool
from adapters.serving.bank import AdapterBank, SegmentRows
from adapters.serving.batch import BatchTokens, Piece, split

if TYPE_CHECKING:  # needs Triton, which only a torch with CUDA installs
    from adapters.cuda.forward import CudaForward, PreparedForward

_MAX_THREADS = 4  # more of them would wait for the interpreter
_MIN_SHARD_TOKENS = 96  # smaller batches are computed by all threads together
_LARGE_SHARD_TOKENS = 256
_NICE = 5  # of the threads that compute, so that HTTP processes, which need the processor for less, get it at once
_LOWEST = 19


@dataclass(frozen=True, eq=False)
class Shard:
    """The part of a batch that one thread computes: the tokens of some pieces, on the device."""

    pieces: Sequence[Piece]
    token_ids: Tensor  # [R] int64; R >= T: the shard's T tokens, then padding
    type_ids: Tensor  # [R] int64
    packing: Packing
    rows: Sequence[SegmentRows]  # token rows of each piece
    num_inputs: Sequence[int]  # of each piece


@dataclass(frozen=True, eq=False)
class PreparedBatch:
    """A batch ready to be computed."""

    num_segments: int
    shards: Sequence[Shard]
    on_cuda: "PreparedForward | None" = None  # instead of shards


class Engine:
    """Computes with one backbone and the bank of its adapters.

    `num_threads` is for the CPU; `cuda` computes the batches that it supports.
    """

    def __init__(
        self, backbone: Backbone, bank: AdapterBank, num_threads: int = 1, cuda: "CudaForward | None" = None
    ) -> None:
        self._backbone, self._bank, self._cuda = backbone, bank, cuda
        self._num_threads = 1 if backbone.device.type == "cuda" else min(num_threads, _MAX_THREADS)
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="engine-prepare")
        self._together = _pool(1, num_threads)
        self._apart = _pool(self._num_threads, max(1, num_threads // self._num_threads))

    async def prepare(self, batch: BatchTokens) -> PreparedBatch | BatchTokens:
        """Cut the batch into shards and copy its tokens to the device, in a thread of its own.

        The thread that computes a small batch on the CPU prepares it, too: a change of threads takes longer.
        """
        if self._cuda is None and batch.num_tokens < 2 * _MIN_SHARD_TOKENS:
            return batch
        return await asyncio.get_running_loop().run_in_executor(self._preparing, self._prepare, batch)

    async def compute(self, prepared: PreparedBatch | BatchTokens) -> list[np.ndarray]:
        """Return the logits [inputs, num outputs] float32 of each segment.

        The batch's slots must keep their adapters meanwhile.
        """
        if isinstance(prepared, BatchTokens):
            return await asyncio.get_running_loop().run_in_executor(self._together, self._compute_small, prepared)
        running = self._start(prepared)
        await asyncio.wait(
            [asyncio.wrap_future(part) for part in running]
        )  # all of them, even if one fails: they use the slots
        return _join(prepared, [part.result() for part in running])

    def forward(self, batch: BatchTokens) -> list[np.ndarray]:
        """Prepare and compute; the calling thread waits."""
        prepared = self._prepare(batch)
        running = self._start(prepared)
        wait(running)
        return _join(prepared, [part.result() for part in running])

    def close(self) -> None:
        """Wait for the running batch, and end the threads."""
        for threads in (self._preparing, self._together, self._apart):
            threads.shutdown()

    def _start(self, prepared: PreparedBatch) -> list[Future[list[np.ndarray]]]:
        if self._cuda is not None and prepared.on_cuda is not None:
            return [self._together.submit(self._cuda.compute, prepared.on_cuda)]
        threads = self._together if len(prepared.shards) == 1 else self._apart
        return [threads.submit(self._forward, shard) for shard in prepared.shards]

    def _compute_small(self, batch: BatchTokens) -> list[np.ndarray]:
        prepared = self._prepare(batch)
        (shard,) = prepared.shards
        return _join(prepared, [self._forward(shard)])

    def _prepare(self, batch: BatchTokens) -> PreparedBatch:
        num_segments = len(batch.slots)
        if self._cuda is not None and self._cuda.supports(batch.slots):
            return PreparedBatch(num_segments, [], self._cuda.prepare(batch))
        shards = list[Shard]()
        first = 0  # input of the shard
        for pieces in split(batch, self._how_many(batch.num_tokens)):
            shards.append(self._shard(batch, pieces, first))
            first += sum(shards[-1].num_inputs)
        return PreparedBatch(num_segments, shards)

    def _how_many(self, num_tokens: int) -> int:
        """Return the number of shards: the same for each thread, so that all end together.

        Two for each thread if they are large, so that a delayed thread has less left to do at the end.
        """
        if num_tokens >= 2 * self._num_threads * _LARGE_SHARD_TOKENS:
            return 2 * self._num_threads
        return min(self._num_threads, max(1, num_tokens // _MIN_SHARD_TOKENS))

    def _shard(self, batch: BatchTokens, pieces: Sequence[Piece], first: int) -> Shard:
        """Make the shard of `pieces`; its first input is the batch's input `first`."""
        num_inputs = [piece.stop - piece.start for piece in pieces]
        lengths = batch.lengths[first : first + sum(num_inputs)]
        stops = np.cumsum(lengths)[np.cumsum(num_inputs) - 1].tolist()
        rows = [
            SegmentRows(batch.slots[piece.segment], start, stop)
            for piece, start, stop in zip(pieces, [0, *stops], stops, strict=False)
        ]
        start, num_tokens = int(batch.lengths[:first].sum()), stops[-1]
        num_rows = self._backbone.round_rows(num_tokens)

        def tensor(ids: np.ndarray) -> Tensor:
            """Copy the shard's ids to the device, padded with rows that are never read."""
            filled = np.zeros(num_rows, dtype=np.int64)
            filled[:num_tokens] = ids[start : start + num_tokens]
            return torch.from_numpy(filled).to(self._backbone.device)

        return Shard(
            pieces=pieces,
            token_ids=tensor(batch.token_ids),
            type_ids=tensor(batch.type_ids),
            packing=Packing.of(lengths, self._backbone.device, num_rows=num_rows),
            rows=rows,
            num_inputs=num_inputs,
        )

    @torch.inference_mode()
    def _forward(self, shard: Shard) -> list[np.ndarray]:
        site = self._bank.site(shard.rows)
        hidden = self._backbone(shard.token_ids, shard.type_ids, shard.packing, site)
        hidden = hidden[: shard.rows[-1].stop]
        tasks = [self._bank.task(rows.slot) for rows in shard.rows]
        pooled = {
            name: torch.split(pool(hidden, shard.packing, name, self._backbone), list(shard.num_inputs))
            for name in {task.pooling for task in tasks}
        }
        logits = [
            self._bank.logits(rows.slot, pooled[task.pooling][number])
            for number, (rows, task) in enumerate(zip(shard.rows, tasks, strict=True))
        ]
        return [tensor.cpu().numpy() for tensor in logits]


def _join(prepared: PreparedBatch, results: Sequence[list[np.ndarray]]) -> list[np.ndarray]:
    if prepared.on_cuda is not None:
        return results[0]
    found: list[list[np.ndarray]] = [[] for _ in range(prepared.num_segments)]
    for shard, result in zip(prepared.shards, results, strict=True):
        for piece, rows in zip(shard.pieces, result, strict=True):
            found[piece.segment].append(rows)
    return [np.concatenate(rows) for rows in found]


def _pool(num_threads: int, num_threads_each: int) -> ThreadPoolExecutor:
    def set_up() -> None:
        if sys.platform == "linux":  # elsewhere a priority is that of the whole process
            nice = min(_LOWEST, os.getpriority(os.PRIO_PROCESS, 0) + _NICE)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
        torch.get_num_threads()  # the first call in a thread would otherwise overwrite the number set here
        torch.set_num_threads(num_threads_each)

    return ThreadPoolExecutor(num_threads, thread_name_prefix="engine", initializer=set_up)
