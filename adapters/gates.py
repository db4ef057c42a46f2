"""Gated adapters: one file whose experts merge to a plain adapter for each key, for example for each user.

With K experts for the down-projections and a gate alpha[key, layer] of K weights (>= 0, sum 1), a key's adapter is

    W_a = sum_k alpha_k W_a^k    b_a = sum_k alpha_k b_a^k    W_b = sum_k alpha_k W_b^k    b_b = sum_k alpha_k b_b^k

with the up-projection, the head and the equation of `adapters.method.adakron`. Projections are linear, so this is
exactly the mixture of the experts' outputs. It is a mixture of experts (Jacobs et al. 1991) with a table instead of
the gating network. Imports no torch.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adapters.adapter import Adapter, AdapterMetadata
from adapters.config import GatesConfig, is_expert

if TYPE_CHECKING:
    from torch import Tensor

MIN_KEYS, MAX_KEYS = 2, 100_000


@dataclass(frozen=True, eq=False)
class Gates:
    """The gates of N keys in L layers over K experts, and the mean gate, which answers every other key."""

    config: GatesConfig
    digests: np.ndarray  # [N, 16] uint8, strictly ascending: GatesConfig.digest of each key
    table: "Tensor"  # [N, L, K] float32 or float16: at least 0, sum 1 over K
    mean: "Tensor"  # [L, K], the mean over the keys that the trainer had

    def find(self, digest: bytes) -> int | None:
        """Return the row of the key with this digest, or None if the table has no such key."""
        count = len(self.digests)
        row = bisect_left(range(count), digest, key=lambda at: self.digests[at].tobytes())
        return row if row < count and self.digests[row].tobytes() == digest else None


@dataclass(frozen=True, eq=False)
class GatedAdapter:
    """The weights of one task with K experts, and the gate of each key. Only `checkpoint` makes one."""

    metadata: AdapterMetadata  # with `gates`
    tensors: "Mapping[str, Tensor]"  # as in AdapterConfig.gated_tensor_shapes, without the gates
    gates: Gates
    digest: str  # SHA-256 of the file, 64 hex digits

    def merge(self, row: int | None) -> Adapter:
        """Return the plain adapter, in float32, of the key in `row` of the table, or of the mean gate if it is None.

        Its digest is that of the gated file. The golden examples are of the mean gate: other adapters have none.
        """
        examples = self.metadata.examples if row is None else ()
        metadata = self.metadata.model_copy(update={"gates": None, "format_version": 2, "examples": examples})
        alphas = (self.gates.mean if row is None else self.gates.table[row]).float()  # [L, K]
        by_layer = dict(zip(metadata.layers, alphas, strict=True))
        tensors = {}
        for name, tensor in self.tensors.items():
            if is_expert(name):
                alpha = by_layer[int(name.split(".")[1])]
                tensors[name] = (alpha.view(-1, *[1] * (tensor.dim() - 1)) * tensor.float()).sum(0)
            else:
                tensors[name] = tensor.float()
        return Adapter(metadata, tensors, self.digest)
