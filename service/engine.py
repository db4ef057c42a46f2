"""Engine: Batch -> logits, on the device, in one thread of its own."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from adapters.backbone import Backbone
from adapters.bank import AdapterBank, SegmentRows
from adapters.heads import pool
from adapters.packing import Packing
from service.core import Batch


class Engine:
    """One backbone and the bank of the adapters on it."""

    def __init__(self, backbone: Backbone, bank: AdapterBank) -> None:
        self._backbone, self._bank = backbone, bank
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def run(self, batch: Batch) -> list[np.ndarray]:
        """Logits [rows, num outputs] float32 of each segment, in the order of its parts."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.forward, batch)

    @torch.inference_mode()
    def forward(self, batch: Batch) -> list[np.ndarray]:
        """As `run`, in the calling thread. Each segment's slot must hold its adapter throughout."""
        device = self._backbone.device
        encodings = [encoding for segment in batch.segments for encoding in segment.encodings]
        token_ids = torch.from_numpy(np.concatenate([item.token_ids for item in encodings])).to(device)
        type_ids = torch.from_numpy(np.concatenate([item.type_ids for item in encodings])).to(device)
        packing = Packing.of([len(item) for item in encodings], device)
        rows, counts = _rows(batch)
        hidden = self._backbone(token_ids, type_ids, packing, lambda layer, h: self._bank.apply(layer, h, rows))
        poolings = {
            name: pool(hidden, packing, name, self._backbone)
            for name in {self._bank.task(segment.slot).pooling for segment in batch.segments}
        }
        logits, at = [], 0
        for segment, count in zip(batch.segments, counts, strict=True):
            pooled = poolings[self._bank.task(segment.slot).pooling][at : at + count]
            logits.append(self._bank.logits(segment.slot, pooled))
            at += count
        return [tensor.cpu().numpy() for tensor in logits]

    def close(self) -> None:
        """Wait for the batch that is running and end the thread."""
        self._pool.shutdown()


def _rows(batch: Batch) -> tuple[list[SegmentRows], list[int]]:
    rows, counts, at = [], [], 0
    for segment in batch.segments:
        lengths = [len(encoding) for encoding in segment.encodings]
        rows.append(SegmentRows(segment.slot, at, at + sum(lengths)))
        counts.append(len(lengths))
        at += sum(lengths)
    return rows, counts
