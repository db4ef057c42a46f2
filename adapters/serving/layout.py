"""The layout of an adapter in a slot, in host memory and on the device.

All matrices are views of one flat tensor. It is never changed once it is laid out, so a slot can share it.
"""

import mmap
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from adapters.adapter import Adapter, AdapterMetadata
from adapters.config import TaskSpec
from adapters.gates import GatedAdapter, Gates


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The adapter of one layer: views of the flat tensor."""

    down: Tensor  # [q + p, H]: W_b above W_a, so that one product gives both
    down_bias: Tensor  # [q + p]
    up: Tensor  # [r + 1, H]: W_up transposed, and b_up below it as the weights of a constant 1
    p: int
    q: int


@dataclass(frozen=True, eq=False)
class SlotWeights:
    """One adapter as batches use it. Its memory is freed with the last reference to its tensors."""

    layers: dict[int, LayerWeights]
    head_weight: Tensor  # [num_outputs, H] float32
    head_bias: Tensor  # [num_outputs] float32
    task: TaskSpec
    bottleneck: tuple[int, int]  # p, q
    addresses: np.ndarray  # [num_layers, 3] int64: of down, down_bias, up; 0 in layers without an adapter


@dataclass(frozen=True, eq=False)
class HostAdapter:
    """One adapter in host memory, laid out once, however often it comes to the device."""

    config: AdapterMetadata  # without training, metrics and examples
    flat: Tensor  # [num_parameters]
    head_weight: Tensor  # [num_outputs, H] float32
    head_bias: Tensor  # [num_outputs] float32

    @classmethod
    def of(cls, adapter: Adapter, dtype: torch.dtype) -> "HostAdapter":
        """Lay `adapter` out in `dtype`, or in the type of its file if that takes less memory and loses nothing."""
        config = adapter.metadata.model_copy(update={"training": {}, "metrics": {}, "examples": ()})
        flat = _empty(config.num_parameters, _host_dtype(adapter, dtype))
        for layer, weights in _layers(flat, config).items():
            _fill(weights, adapter, layer)
        head = (adapter.tensors[f"head.{name}"].to(torch.float32, copy=True) for name in ("weight", "bias"))
        return cls(config, flat, *head)

    @property
    def num_bytes(self) -> int:
        """The size of its tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.flat, self.head_weight, self.head_bias))

    @cached_property
    def weights(self) -> SlotWeights:
        """The adapter as batches use it, in this memory."""
        config, layers = self.config, _layers(self.flat, self.config)
        return SlotWeights(
            layers,
            self.head_weight,
            self.head_bias,
            config.task,
            (config.p, config.q),
            _addresses(layers, config.backbone.num_layers),
        )

    def copied_to(self, device: torch.device, dtype: torch.dtype) -> SlotWeights:
        """Return the adapter as batches on `device` use it, in `dtype`."""
        head = (tensor.to(device) for tensor in (self.head_weight, self.head_bias))
        on_cpu = torch.device(device).type == "cpu"
        flat = _empty(len(self.flat), dtype).copy_(self.flat) if on_cpu else self.flat.to(device, dtype)
        return HostAdapter(self.config, flat, *head).weights


def _empty(num_parameters: int, dtype: torch.dtype) -> Tensor:
    """Return a tensor [num_parameters] in memory pages of its own, which go back to the system when it is freed.

    In the heap of malloc, adapters that live for hours would lie between buffers of loads, and after thousands of
    loads a third of the heap would be holes.
    """
    return torch.frombuffer(mmap.mmap(-1, num_parameters * dtype.itemsize), dtype=dtype)


@dataclass(frozen=True, eq=False)
class HostExperts:
    """The experts and the gates of a gated file in host memory, laid out once, so that few operations merge a key."""

    gates: Gates
    mean: HostAdapter  # merged by the mean gate; a key's adapter differs from it in the down-projections only
    down: Tensor  # [L, K, (q + p) * H] in the type of the file: W_b above W_a of each expert
    down_bias: Tensor  # [L, K, q + p]

    @classmethod
    def of(cls, gated: GatedAdapter, dtype: torch.dtype) -> "HostExperts":
        """Lay `gated` out, to merge adapters in `dtype`."""

        def stack(name: str) -> Tensor:
            sides = ([gated.tensors[f"layers.{layer}.down_{side}.{name}"] for side in "ba"] for layer in layers)
            return torch.stack([torch.cat(both, dim=1).flatten(1) for both in sides])

        layers, gates = gated.metadata.layers, gated.gates
        own = Gates(
            gates.config, gates.digests.copy(), gates.table.clone(), gates.mean.clone()
        )  # not views of the file
        return cls(own, HostAdapter.of(gated.merge(None), dtype), stack("weight"), stack("bias"))

    @property
    def num_bytes(self) -> int:
        """The size of its tensors and of the keys' digests."""
        tensors = (self.down, self.down_bias, self.gates.table, self.gates.mean)
        own = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return own + self.mean.num_bytes + self.gates.digests.nbytes

    def find(self, key: bytes) -> int | None:
        """Return the row of the key with that salted digest; None if it has no gate of its own."""
        return self.gates.find(key)

    def merge(self, row: int | None) -> HostAdapter:
        """Return the adapter that the gate in `row`, or the mean gate, merges to: W_a = sum_k alpha_k W_a^k, and so on.

        `GatedAdapter.merge` is the slow reference.
        """
        if row is None:
            return self.mean
        alpha = self.gates.table[row].float().unsqueeze(-1)  # [L, K, 1]
        down, bias = ((alpha * experts.float()).sum(1) for experts in (self.down, self.down_bias))
        config, flat = self.mean.config, _empty(len(self.mean.flat), self.mean.flat.dtype).copy_(self.mean.flat)
        for place, weights in enumerate(_layers(flat, config).values()):
            weights.down.copy_(down[place].view_as(weights.down))
            weights.down_bias.copy_(bias[place])
        return HostAdapter(config, flat, self.mean.head_weight, self.mean.head_bias)


def _host_dtype(adapter: Adapter, dtype: torch.dtype) -> torch.dtype:
    """Return float16 for a file of float16 that a bank of float32 will use, else `dtype`."""
    in_file = {tensor.dtype for tensor in adapter.tensors.values()}
    return torch.float16 if dtype == torch.float32 and in_file == {torch.float16} else dtype


def _layers(flat: Tensor, config: AdapterMetadata) -> dict[int, LayerWeights]:
    """Return views of flat [num_parameters] by layer; biases are last, so that matrices begin at whole rows."""
    hidden, width = config.backbone.hidden_size, config.p + config.q
    biases = flat[-len(config.layers) * width :].view(-1, width)
    layers, at = {}, 0
    for layer, down_bias in zip(config.layers, biases, strict=True):
        up_at = at + width * hidden
        stop = up_at + (config.bottleneck + 1) * hidden
        down, up = flat[at:up_at].view(-1, hidden), flat[up_at:stop].view(-1, hidden)
        layers[layer], at = LayerWeights(down, down_bias, up, config.p, config.q), stop
    return layers


def _fill(weights: LayerWeights, adapter: Adapter, layer: int) -> None:
    """Write the adapter's tensors of `layer`, in the type of `weights`."""

    def tensor(name: str) -> Tensor:
        return adapter.tensors[f"layers.{layer}.{name}"]

    weights.down[: weights.q].copy_(tensor("down_b.weight"))
    weights.down[weights.q :].copy_(tensor("down_a.weight"))
    weights.down_bias[: weights.q].copy_(tensor("down_b.bias"))
    weights.down_bias[weights.q :].copy_(tensor("down_a.bias"))
    weights.up[:-1].copy_(tensor("up.weight").T)
    weights.up[-1].copy_(tensor("up.bias"))


def _addresses(layers: dict[int, LayerWeights], num_layers: int) -> np.ndarray:
    addresses = np.zeros((num_layers, 3), dtype=np.int64)
    for layer, weights in layers.items():
        addresses[layer] = weights.down.data_ptr(), weights.down_bias.data_ptr(), weights.up.data_ptr()
    return addresses
