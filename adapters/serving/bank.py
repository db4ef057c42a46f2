"""AdapterBank: adapters on the device by slot, applied to mixed batches.

A slot is one flat tensor on the device; the matrices are views of it. Adapters with different bottlenecks, layers and
numbers of labels live side by side, each at its own size (docs/decisions/0002-flat-slots.md).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from adapters.adapter import Adapter
from adapters.backbone.native import NativeAdapters, can_take_rows, native_dense, widest_adapter
from adapters.config import TaskSpec, slot_bytes
from adapters.gates import GatedAdapter
from adapters.method.adakron import kronecker
from adapters.method.model import apply_head
from adapters.serving.layout import HostAdapter, HostExperts, LayerWeights, SlotWeights


@dataclass(frozen=True)
class SegmentRows:
    """Contiguous rows of a packed batch that belong to the adapter in `slot`."""

    slot: int
    start: int  # first token row
    stop: int


class AdapterBank:
    """`apply` is for one thread at a time; `write` never touches a tensor that another slot or a batch uses."""

    def __init__(self, hidden_size: int, device: torch.device | str, dtype: torch.dtype) -> None:
        self.hidden_size, self.device, self.dtype = hidden_size, torch.device(device), dtype
        self._slots: dict[int, SlotWeights] = {}
        self._copy_stream: torch.cuda.Stream | None = None
        self._widest_in_c = widest_adapter(self.device, dtype, hidden_size)
        self._has_heads_in_c = can_take_rows(self.device, torch.float32, hidden_size)

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        """Return the device memory of an adapter with `num_parameters` and a head of `num_outputs`."""
        return slot_bytes(self.hidden_size, self.dtype.itemsize, num_parameters, num_outputs)

    def lay_out(self, adapter: Adapter) -> HostAdapter:
        """Lay `adapter` out in host memory, in the bank's type unless that takes more memory than the file's types."""
        return HostAdapter.of(adapter, self.dtype)

    def lay_out_experts(self, gated: GatedAdapter) -> HostExperts:
        """Lay a gated file out in host memory, to be merged to adapters in the bank's type."""
        return HostExperts.of(gated, self.dtype)

    def holds(self, host: HostAdapter) -> bool:
        """Whether `put` copies nothing, because a slot can share the memory of `host`."""
        return self.device.type == "cpu" and host.flat.dtype == self.dtype

    def put(self, slot: int, host: HostAdapter) -> None:
        """Bring an adapter to the device, and replace the content of `slot`. On a GPU no batch waits for the copy."""
        if self.holds(host):
            self._slots[slot] = host.weights
            return
        with self._copying():  # one copy for all layers: each waits for the stream
            self._slots[slot] = host.copied_to(self.device, self.dtype)

    def write(self, slot: int, adapter: Adapter) -> None:
        """Lay `adapter` out, and put it into `slot`."""
        self.put(slot, self.lay_out(adapter))

    @contextmanager
    def _copying(self) -> Iterator[None]:
        """Let the copies inside run beside batches, and wait for them: batches may read the slot on any stream."""
        if self.device.type != "cuda":
            yield
            return
        if self._copy_stream is None:
            self._copy_stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._copy_stream):
            yield
        self._copy_stream.synchronize()

    def clear(self, slot: int) -> None:
        """Free the slot. A batch that uses it keeps the tensors until it ends."""
        del self._slots[slot]

    def weights(self, slot: int) -> SlotWeights:
        """Return the weights in `slot`. Raises KeyError for an empty one."""
        return self._slots[slot]

    def task(self, slot: int) -> TaskSpec:
        """Return the task of the adapter in `slot`. Raises KeyError for an empty one."""
        return self._slots[slot].task

    def apply(self, layer: int, h: Tensor, segments: Sequence[SegmentRows]) -> Tensor:
        """h[s] += W_up^s GELU(W_b^s h (x) W_a^s h) + b_up^s for the rows of each segment s; in place.

        h [T, H] of the bank's dtype, contiguous -> the same tensor. Rows without a segment, or whose adapter is not in
        this layer, do not change. Not differentiable.
        """
        return self.site(segments)(layer, h)

    def site(self, segments: Sequence[SegmentRows]) -> "BatchSite":
        """Return `apply` for a batch, with the present content of its slots. Raises KeyError for an empty slot."""
        return BatchSite(
            [(segment, self._slots[segment.slot]) for segment in segments],
            self.hidden_size,
            self.dtype,
            self._widest_in_c,
        )

    def logits(self, slot: int, pooled: Tensor) -> Tensor:
        """Apply the head of the adapter in `slot`: pooled [n, H] -> [n, num_outputs] float32."""
        weights = self._slots[slot]
        if self._has_heads_in_c:
            return native_dense(pooled.float(), weights.head_weight, weights.head_bias)
        return apply_head(pooled, weights.head_weight, weights.head_bias)


class BatchSite:
    """The adapters of one batch, kept alive by this object even if their slots are written or cleared meanwhile."""

    def __init__(
        self,
        members: Sequence[tuple[SegmentRows, SlotWeights]],
        hidden_size: int,
        dtype: torch.dtype,
        widest_in_c: int,
    ) -> None:
        def is_in_c(weights: SlotWeights) -> bool:
            return weights.bottleneck[0] * weights.bottleneck[1] <= widest_in_c

        self._members = members
        self._in_torch = [member for member in members if not is_in_c(member[1])]
        in_c = [(rows.start, rows.stop, held.bottleneck, held.addresses) for rows, held in members if is_in_c(held)]
        self._in_c = NativeAdapters(hidden_size, dtype, in_c) if in_c else None

    def __call__(self, layer: int, h: Tensor) -> Tensor:
        """Apply the adapters of `layer` to h, as `AdapterBank.apply` does."""
        if self._in_c is not None:
            self._in_c.apply(layer, h)
        _apply_in_torch(layer, h, self._in_torch)
        return h


def _apply_in_torch(layer: int, h: Tensor, members: Sequence[tuple[SegmentRows, SlotWeights]]) -> None:
    by_shape: dict[tuple[int, int], list[tuple[Tensor, LayerWeights]]] = {}
    for segment, slot in members:
        weights = slot.layers.get(layer)
        if weights is not None:
            by_shape.setdefault(slot.bottleneck, []).append((h[segment.start : segment.stop], weights))
    for (p, q), same in by_shape.items():
        _apply_same_shape(p, q, same)


def _apply_same_shape(p: int, q: int, members: Sequence[tuple[Tensor, LayerWeights]]) -> None:
    """Apply adapters of one bottleneck: two small products for each segment, everything between them at once."""
    first, _ = members[0]
    sizes = [len(rows) for rows, _ in members]
    down = first.new_empty(sum(sizes), q + p)
    places = torch.split(down, sizes)
    for (rows, weights), place in zip(members, places, strict=True):
        torch.addmm(weights.down_bias, rows, weights.down.T, out=place)
    z = F.pad(F.gelu(kronecker(down[:, :q], down[:, q:])), (0, 1), value=1.0)  # [rows, r + 1]
    for (rows, weights), factors in zip(members, torch.split(z, sizes), strict=True):
        rows.addmm_(factors, weights.up)
