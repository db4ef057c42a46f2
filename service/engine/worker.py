"""EngineWorker: the backbone, the adapters in their slots, and the engine that computes with both, in this process."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.encoder import Backbone
from adapters.backbone.quantized import AMX_HINT, INT8, dtype_name, int8_tiles, load_packed
from adapters.backbone.source import LoadedBackbone
from adapters.config import BackboneIdentity
from adapters.cuda.graphs import CudaGraphs
from adapters.errors import BackboneError, CheckpointError
from adapters.gates import GatedAdapter
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from adapters.serving.layout import HostAdapter, HostExperts
from service.engine.backend import EngineBackend
from service.engine.dtype import choose_dtype
from service.engine.engine import Engine, PreparedBatch
from service.errors import AdapterUnavailable
from service.processes.cgroups import usable_cpus
from service.settings import Settings

if TYPE_CHECKING:
    from adapters.cuda.forward import CudaForward

_log = logging.getLogger(__name__)


class EngineWorker(EngineBackend):
    """An EngineBackend that computes in threads of this process. On CUDA it takes seconds to make."""

    def __init__(self, loaded: LoadedBackbone, settings: Settings) -> None:
        backbone = loaded.backbone
        self.name, self.dtype = str(backbone.device), dtype_name(backbone)
        self._bank = AdapterBank(loaded.identity.hidden_size, backbone.device, backbone.dtype)
        self._writer = AdapterWriter(self._bank, loaded.identity)
        cuda = _cuda_forward(backbone, self._bank, settings)
        self._engine = Engine(backbone, self._bank, engine_threads(settings), cuda)

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        return self._bank.num_bytes(num_parameters, num_outputs)

    async def read(self, digest: str, data: bytes, *, checked: bool) -> HostAdapter | HostExperts:
        return await self._writer.read(digest, data, checked=checked)

    async def merge(self, experts: HostExperts, row: int | None) -> HostAdapter:
        return await self._writer.merge(experts, row)

    async def write(self, slot: int, adapter: HostAdapter) -> None:
        await self._writer.write(slot, adapter)

    def clear(self, slot: int) -> None:
        self._bank.clear(slot)

    async def prepare(self, batch: BatchTokens) -> PreparedBatch | BatchTokens:
        return await self._engine.prepare(batch)

    async def compute(self, prepared: PreparedBatch | BatchTokens) -> list[np.ndarray]:
        return await self._engine.compute(prepared)

    async def close(self) -> None:
        self._writer.close()
        self._engine.close()


class AdapterWriter:
    """Lays out adapter files and writes slots, in one thread: several would only compete for the interpreter."""

    def __init__(self, bank: AdapterBank, backbone: BackboneIdentity) -> None:
        self._bank, self._backbone = bank, backbone
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="adapter-write")

    async def read(self, digest: str, data: bytes, *, checked: bool) -> HostAdapter | HostExperts:
        """Lay the adapter file `data` out as a slot, after every check of `adapters.checkpoint` unless `checked`.

        A gated file is kept as it is, to be merged.

        Raises AdapterUnavailable when the file cannot be used on this backbone.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, digest, data, checked)

    async def merge(self, experts: HostExperts, row: int | None) -> HostAdapter:
        """Merge experts that `read` has returned by the gate in `row`, or by the mean gate if it is None."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, experts.merge, row)

    async def write(self, slot: int, adapter: HostAdapter) -> None:
        """Put an adapter that `read` or `merge` has returned into `slot`; at once if nothing has to be copied."""
        if self._bank.holds(adapter):
            self._bank.put(slot, adapter)
        else:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._bank.put, slot, adapter)

    def close(self) -> None:
        """Finish the reads and writes that were asked for, and end the thread."""
        self._thread.shutdown()

    def _read(self, digest: str, data: bytes, checked: bool) -> HostAdapter | HostExperts:
        adapter = checkpoint.parse_trusted(data, digest) if checked else self._check(data, digest)
        if isinstance(adapter, GatedAdapter):
            return self._bank.lay_out_experts(adapter)
        return self._bank.lay_out(adapter)

    def _check(self, data: bytes, digest: str) -> Adapter | GatedAdapter:
        try:
            return checkpoint.parse(data, self._backbone)
        except CheckpointError as error:  # published for another backbone, not through this server
            raise AdapterUnavailable(f"adapter {digest[:12]} cannot be used here: {error}") from error


def load_backbone_for(settings: Settings) -> LoadedBackbone:
    """Load the backbone that `settings` name, on its device and laid out for inference.

    Raises BackboneError, also when they ask for int8 and the machine does not support it. From then on torch computes
    with one thread, except in the engine: when two threads each have an OpenMP team and the teams together outnumber
    the cores, their members sleep between operations instead of spinning.
    """
    device = choose_device(settings.device)
    name, reason = choose_dtype(settings.dtype, torch.device(device).type)
    _log.info("the backbone is in %s on %s: %s", name, device, reason)
    if name == INT8 and int8_tiles():
        _log.warning("%s; ADAKRON_DTYPE=auto chooses bfloat16 here", AMX_HINT)
    torch.set_num_threads(1)
    return load_packed(settings.backbone, device=device, dtype=name)


def choose_device(wanted: str) -> str:
    """Return the device that the setting `device` selects on this machine. Raises BackboneError if it has none."""
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
    """Return ADAKRON_ENGINE_THREADS, or as many threads as the CPU quota and the cores can run."""
    return settings.engine_threads or usable_cpus()


def _cuda_forward(backbone: Backbone, bank: AdapterBank, settings: Settings) -> "CudaForward | None":
    if backbone.device.type != "cuda":
        return None
    from adapters.cuda.forward import CudaForward  # it needs Triton, which torch brings only where it has CUDA

    capture = CudaGraphs(backbone.device).capture if settings.cuda_graphs else None
    forward = CudaForward(backbone, bank, max_batch_tokens=settings.max_batch_tokens, capture=capture)
    forward.warm_up()
    return forward
