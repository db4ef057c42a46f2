"""The server with an engine that answers at once: constant logits, no torch.

Started like `python -m service`, with the same arguments and settings. INSTANT_ENGINE_MS is the time of one forward, 0
by default. Only the engine is replaced, in this process and in those that it starts: multiprocessing
imports the main module in them, too.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.backbone.files import BackboneSource, find_backbone
from adapters.config import slot_bytes
from adapters.serving.batch import BatchTokens
from service.__main__ import main
from service.engine.backend import EngineBackend
from service.engine_process import run
from service.processes import child
from service.settings import Settings

FORWARD_MS = "INSTANT_ENGINE_MS"  # environment variable
_HEAD = "head.bias"  # the tensor of an adapter file whose shape is [num outputs]


@dataclass(frozen=True)
class InstantAdapter:
    """All that the engine needs of an adapter."""

    num_outputs: int
    num_bytes: int


class InstantEngine(EngineBackend):
    """An EngineBackend whose logits are 0, 1, 2, ... for every input."""

    name, dtype = "instant", "float32"

    def __init__(self, hidden_size: int) -> None:
        self._hidden_size = hidden_size
        self._num_outputs: dict[int, int] = {}  # by slot
        self._forward_s = float(os.environ.get(FORWARD_MS, "0")) / 1000

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        return slot_bytes(self._hidden_size, 4, num_parameters, num_outputs)

    async def read(self, digest: str, data: bytes, *, checked: bool) -> "InstantAdapter":
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # of safetensors
        (num_outputs,) = header[_HEAD]["shape"]
        return InstantAdapter(num_outputs, len(data))

    async def write(self, slot: int, adapter: "InstantAdapter") -> None:
        self._num_outputs[slot] = adapter.num_outputs

    def clear(self, slot: int) -> None:
        del self._num_outputs[slot]

    async def prepare(self, batch: BatchTokens) -> BatchTokens:
        return batch

    async def compute(self, prepared: Any) -> list[np.ndarray]:
        if self._forward_s:
            await asyncio.sleep(self._forward_s)
        widths = [self._num_outputs[slot] for slot in prepared.slots]
        return [
            np.tile(np.arange(width, dtype=np.float32), (rows, 1))
            for rows, width in zip(prepared.num_inputs, widths, strict=True)
        ]

    async def close(self) -> None: ...


def open_engine(settings: Settings) -> tuple[BackboneSource, EngineBackend]:
    """Take the place of `service.engine_process.run.open_engine`."""
    source = find_backbone(settings.backbone)
    return source, InstantEngine(source.identity.hidden_size)


if __name__ in ("__main__", "__mp_main__"):  # the latter in processes that multiprocessing starts
    run.open_engine = open_engine
    child._PRELOADED = ()  # only the checker needs torch: a start does not wait for it

if __name__ == "__main__":
    main()
