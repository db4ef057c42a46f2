"""EngineWorker: the backbone, the adapters on it and the engine that computes with both."""

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import torch

from adapters.backbone.encoder import Backbone
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.cuda.graphs import CudaGraphs
from adapters.errors import BackboneError
from adapters.serving.bank import AdapterBank
from service.core import BatchTokens
from service.engine.engine import Engine, PreparedBatch
from service.engine.writer import Writer
from service.processes.cgroups import usable_cpus
from service.settings import Settings

if TYPE_CHECKING:
    from adapters.cuda.forward import CudaForward


class EngineWorker:
    """All of it in this process. On CUDA it takes seconds to make."""

    def __init__(self, loaded: LoadedBackbone, settings: Settings) -> None:
        backbone = loaded.backbone
        self.name, self.dtype = str(backbone.device), backbone.dtype
        self.lost = asyncio.Event()  # never: it is lost with this process
        self._bank = AdapterBank(loaded.identity.hidden_size, backbone.device, backbone.dtype)
        self._writer = Writer(self._bank, loaded.identity)
        cuda = _cuda_forward(backbone, self._bank, settings)
        self._engine = Engine(backbone, self._bank, engine_threads(settings), cuda)

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        """Memory that an adapter of `num_parameters` takes with a head of `num_outputs`."""
        return self._bank.num_bytes(num_parameters, num_outputs)

    async def write(self, slot: int, digest: str, data: bytes, *, checked: bool) -> None:
        """As `Writer.write`."""
        await self._writer.write(slot, digest, data, checked=checked)

    def clear(self, slot: int) -> None:
        """Free the slot, which no batch uses."""
        self._bank.clear(slot)

    async def prepare(self, batch: BatchTokens) -> PreparedBatch:
        """As `Engine.prepare`."""
        return await self._engine.prepare(batch)

    async def compute(self, prepared: PreparedBatch) -> list[np.ndarray]:
        """As `Engine.compute`."""
        return await self._engine.compute(prepared)

    async def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._writer.close()
        self._engine.close()


def load_for(settings: Settings) -> LoadedBackbone:
    """The backbone that `settings` ask for, on its device, laid out for inference. Raises BackboneError.

    From then on torch computes with one thread, but in the engine: where two threads have each a team of OpenMP's, and
    these are more than the cores, their members sleep between operations instead of spinning.
    """
    device = choose_device(settings.device)
    on_cuda = torch.device(device).type == "cuda"
    name = ("bfloat16" if on_cuda else "float32") if settings.dtype == "auto" else settings.dtype
    torch.set_num_threads(1)
    loaded = load_backbone(settings.backbone, device=device, dtype=getattr(torch, name))
    loaded.backbone.pack()
    return loaded


def choose_device(wanted: str) -> str:
    """The device that the setting `device` stands for on this machine. Raises BackboneError if there is none."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if wanted == "auto":
        return "cuda"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(wanted.partition(":")[2] or 0) >= count:
        sees = "sees no CUDA device" if torch.version.cuda else "is built without CUDA"
        if count:
            sees = f"sees {count} CUDA devices, from cuda:0 on"
        raise BackboneError(
            f"ADAKRON_DEVICE={wanted} (--device): torch {torch.__version__} {sees}; `adakron doctor` says why, auto "
            "computes on a GPU if there is one"
        )
    return wanted


def engine_threads(settings: Settings) -> int:
    """Threads of the engine on the CPU: ADAKRON_ENGINE_THREADS, or as many as the quota and the cores can run."""
    return settings.engine_threads or usable_cpus()


def _cuda_forward(backbone: Backbone, bank: AdapterBank, settings: Settings) -> "CudaForward | None":
    if backbone.device.type != "cuda":
        return None
    from adapters.cuda.forward import CudaForward  # it needs Triton, which torch brings only where it has CUDA

    capture = CudaGraphs(backbone.device).capture if settings.cuda_graphs else None
    forward = CudaForward(backbone, bank, max_batch_tokens=settings.max_batch_tokens, capture=capture)
    forward.warm_up()
    return forward
