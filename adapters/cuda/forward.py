"""The forward of a mixed batch on a GPU: one copy to it, kernel launches or one graph, one copy back, one wait."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adapters.backbone.attention import VarlenPacking, supports_varlen
from adapters.backbone.encoder import Backbone
from adapters.backbone.packing import Packing
from adapters.cuda.batch_tables import BatchTables, TableSizes, carve, fill, num_table_bytes
from adapters.cuda.fused_kernel import KernelShape, add_adapters
from adapters.cuda.graphs import Bucket, Buckets
from adapters.cuda.head_kernel import pool_and_classify
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from adapters.serving.layout import SlotWeights

Capture = Callable[[Callable[[], object]], Callable[[], None]]  # a function -> its replay on the same tensors

_LOGITS_PER_SEQUENCE = 256  # room in a graph; a batch with more on average runs without one
_GRAPH_SHAPE = KernelShape.covering([])  # batches with wider adapters run without a graph
_NOTHING = np.zeros(0, dtype=np.int64)
_EMPTY = BatchTokens([], [], _NOTHING, _NOTHING, _NOTHING)
_COLUMNS_PER_16_BYTES = 8  # of a matrix in two-byte numbers


@dataclass(frozen=True, eq=False)
class _Graph:
    """A captured forward and the tensors that it reads and writes."""

    sizes: TableSizes
    block: Tensor  # [num_table_bytes] uint8: the tables
    logits: Tensor  # [most logits] float32
    replay: Callable[[], None]


@dataclass(frozen=True, eq=False)
class PreparedForward:
    """A batch on which the host's work is done."""

    batch: BatchTokens
    weights: Sequence[SlotWeights]  # of each segment; kept alive until the batch is computed
    shape: KernelShape
    sizes: TableSizes
    graph: _Graph | None  # None: launched kernel by kernel
    host: Tensor  # [num_table_bytes] uint8, pinned
    ends: list[int]  # of each segment's logits
    num_logits: int


class CudaForward:
    """For one thread at a time. Fast in float16 and bfloat16; float32 runs attention by groups and without graphs."""

    def __init__(
        self, backbone: Backbone, bank: AdapterBank, *, max_batch_tokens: int, capture: Capture | None = None
    ) -> None:
        self._backbone, self._bank, self._capture = backbone, bank, capture
        self._num_layers = len(backbone.layers)
        self._varlen = supports_varlen(backbone.device, backbone.dtype, backbone.head_size)
        self._buckets = Buckets(max_batch_tokens, backbone.max_positions)
        self._graphs: dict[Bucket, _Graph] = {}

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Capture a graph for each bucket, the largest first, so that smaller ones reuse its memory."""
        if self._capture is None or not self._varlen:
            return
        with self._on_device():
            for bucket in sorted(self._buckets.all, reverse=True):
                self._graphs[bucket] = self._captured(bucket, self._capture)

    def supports(self, slots: Iterable[int]) -> bool:
        """Whether the kernels support the adapters in these slots."""
        aligned = self._bank.hidden_size % _COLUMNS_PER_16_BYTES == 0
        return aligned and KernelShape.covering(self._bank.weights(slot).bottleneck for slot in slots).fits

    @torch.inference_mode()
    def prepare(self, batch: BatchTokens) -> PreparedForward:
        """Do all host work of a batch; in any thread, beside another batch's `compute`.

        Raises KeyError for an empty slot. Adapters whose slots are cleared or overwritten after this call are still
        used, and stay in memory until the batch is computed.
        """
        weights = [self._bank.weights(slot) for slot in batch.slots]
        shape = KernelShape.covering(one.bottleneck for one in weights)
        num_logits = sum(one.task.num_outputs * n for one, n in zip(weights, batch.num_inputs, strict=True))
        sizes = TableSizes.of(batch, self._num_layers)
        graph = self._graph_for(sizes, num_logits, shape)
        sizes = sizes if graph is None else graph.sizes
        host = torch.empty(num_table_bytes(sizes), dtype=torch.uint8, pin_memory=self._on_cuda)
        ends = fill(carve(host, sizes), batch, weights, sizes.max_length)
        return PreparedForward(batch, weights, shape, sizes, graph, host, ends, num_logits)

    @torch.inference_mode()
    def compute(self, prepared: PreparedForward) -> list[np.ndarray]:
        """Return the logits [sequences, num outputs] float32 of each segment; waits for the device."""
        with self._on_device():
            logits = self._launch(prepared)
            answers = torch.empty(prepared.num_logits, pin_memory=self._on_cuda)
            answers.copy_(logits[: prepared.num_logits], non_blocking=True)
            self._wait()
        pieces = np.split(answers.numpy().copy(), prepared.ends[:-1])
        return [piece.reshape(n, -1) for piece, n in zip(pieces, prepared.batch.num_inputs, strict=True)]

    def _launch(self, prepared: PreparedForward) -> Tensor:
        """Launch the forward, and return its logits, followed by unused elements; they are not computed yet."""
        if prepared.graph is not None:
            prepared.graph.block.copy_(prepared.host, non_blocking=True)
            prepared.graph.replay()
            return prepared.graph.logits
        tables = carve(prepared.host.to(self._backbone.device, non_blocking=True), prepared.sizes)
        logits = torch.empty(prepared.num_logits, device=self._backbone.device)
        self._forward(tables, logits, prepared.shape, self._packing(tables, prepared.sizes, prepared.batch))
        return logits

    def _forward(
        self, tables: BatchTables, logits: Tensor, shape: KernelShape, packing: Packing | VarlenPacking
    ) -> None:
        """Compute `logits` in place. Depends on device memory only: everything about the batch is in the tables."""

        def site(layer: int, h: Tensor) -> Tensor:
            return add_adapters(h, tables.tiles, tables.bottlenecks, tables.addresses, layer, shape)

        hidden = self._backbone(tables.token_ids, tables.type_ids, packing, site)
        pooled_first = hidden
        if self._backbone.has_pooler:
            pooled_first = torch.tanh(self._backbone.pooler(hidden.index_select(0, tables.first_rows)))
        pool_and_classify(hidden, pooled_first, tables.cu_seqlens, tables.sequences, tables.heads, logits)

    def _packing(self, tables: BatchTables, sizes: TableSizes, batch: BatchTokens) -> Packing | VarlenPacking:
        if self._varlen:
            return VarlenPacking(tables.cu_seqlens, tables.positions, sizes.max_length)
        return Packing.of(batch.lengths, self._backbone.device)

    def _graph_for(self, sizes: TableSizes, num_logits: int, shape: KernelShape) -> _Graph | None:
        bucket = self._buckets.choose(sizes.num_tokens, sizes.num_sequences, sizes.max_length)
        graph = None if bucket is None else self._graphs.get(bucket)
        fits = graph is not None and num_logits <= len(graph.logits) and shape == _GRAPH_SHAPE
        return graph if fits else None

    def _captured(self, bucket: Bucket, capture: Capture) -> _Graph:
        sizes = TableSizes.of_bucket(bucket, self._num_layers)
        host = torch.empty(num_table_bytes(sizes), dtype=torch.uint8)
        fill(carve(host, sizes), _EMPTY, [], sizes.max_length)
        block = host.to(self._backbone.device, copy=True)
        tables = carve(block, sizes)
        logits = torch.zeros(bucket.num_sequences * _LOGITS_PER_SEQUENCE, device=self._backbone.device)
        packing = VarlenPacking(tables.cu_seqlens, tables.positions, sizes.max_length)
        replay = capture(lambda: self._forward(tables, logits, _GRAPH_SHAPE, packing))
        return _Graph(sizes, block, logits, replay)

    @property
    def _on_cuda(self) -> bool:
        return self._backbone.device.type == "cuda"

    def _on_device(self) -> AbstractContextManager[object]:
        return torch.cuda.device(self._backbone.device) if self._on_cuda else nullcontext()

    def _wait(self) -> None:
        if self._on_cuda:
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record()
            done.synchronize()
