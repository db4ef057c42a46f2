"""Packed batches of rows of similar length, and the module that takes them; no batch has padding."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import Dataset, Sampler

from adapters.backbone.packing import Packing
from adapters.backbone.text_encoder import Encoding

MEGA_BATCH = 50  # batches that are sorted by length together: enough for even lengths, few enough for random order


@dataclass(frozen=True, eq=False)
class EncodedRow:
    """One input with its target."""

    encoding: Encoding
    target: np.ndarray  # () int64 class; () float32 number; [num_labels] float32 of 0 and 1
    key: int | None = None  # number of its key, in a gated training


class EncodedRows(Dataset[EncodedRow]):
    """The tokenized rows of a split."""

    def __init__(
        self, encodings: Sequence[Encoding], targets: Sequence[np.ndarray], keys: np.ndarray | None = None
    ) -> None:
        self.encodings, self.targets, self.keys = encodings, targets, keys

    def __len__(self) -> int:
        return len(self.encodings)

    def __getitem__(self, index: int) -> EncodedRow:
        key = None if self.keys is None else int(self.keys[index])
        return EncodedRow(self.encodings[index], self.targets[index], key)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(encoding) for encoding in self.encodings]

    def take(self, rows: Sequence[int]) -> "EncodedRows":
        """Return the rows with these numbers, in their order."""
        keys = None if self.keys is None else self.keys[list(rows)]
        return EncodedRows([self.encodings[row] for row in rows], [self.targets[row] for row in rows], keys)

    def shortest_first(self) -> "EncodedRows":
        """Return these rows sorted by length."""
        return self.take(np.argsort(self.lengths, kind="stable").tolist())


def collate(rows: list[EncodedRow]) -> dict[str, Any]:
    """Pack rows into a batch, the shortest sequence first.

    Returns labels [N] or [N, num_labels], token_ids and type_ids [T] int64, and lengths, N numbers; in a gated training
    also keys [N] int64. The labels come first because Trainer takes the size of a batch from its first tensor.
    """
    rows = sorted(rows, key=lambda row: len(row.encoding))
    keys = [row.key for row in rows if row.key is not None]
    return {
        "labels": torch.from_numpy(np.stack([row.target for row in rows])),
        "token_ids": torch.from_numpy(np.concatenate([row.encoding.token_ids for row in rows])),
        "type_ids": torch.from_numpy(np.concatenate([row.encoding.type_ids for row in rows])),
        "lengths": tuple(len(row.encoding) for row in rows),
        **({"keys": torch.tensor(keys)} if keys else {}),
    }


class LengthSampler(Sampler[int]):
    """Yields row numbers in batches of similar length; the batches have random order, a short batch is the last.

    The order depends only on the seed and the epoch, so a resumed training continues exactly. The group_by_length of
    transformers sorts each large block from long to short, and draws from the global generator.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size, self._seed = batch_size, seed
        self._epoch = 0  # set by the data loader before each epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        drawn = np.random.default_rng([self._seed, self._epoch])
        order = drawn.permutation(len(self._lengths))
        size = MEGA_BATCH * self._batch_size
        grouped = np.concatenate(
            [
                block[np.argsort(self._lengths[block], kind="stable")]
                for block in np.split(order, range(size, len(order), size))
            ]
        )
        batches = np.split(grouped, range(self._batch_size, len(grouped), self._batch_size))
        rest = [batches.pop()] if len(batches[-1]) < self._batch_size else []  # a short batch must be the last
        drawn.shuffle(batches)
        return iter(np.concatenate([*batches, *rest]).tolist())


def attention_kernel(has_backward: bool, device: torch.device) -> AbstractContextManager[None]:
    """The context in which attention is fastest: the fused kernel is slow in its backward on a CPU."""
    return sdpa_kernel(SDPBackend.MATH) if has_backward and device.type == "cpu" else nullcontext()


class PackedModel(nn.Module):
    """Calls a module of (token_ids, type_ids, packing) -> logits with the contents of a packed batch.

    It stands between Trainer and the model because Trainer writes into `model.config` if there is one, and
    an AdapterConfig is frozen.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, token_ids: Tensor, type_ids: Tensor, lengths: tuple[int, ...], keys: Tensor | None = None
    ) -> Tensor:
        """token_ids, type_ids [T] int64, N lengths, keys [N] of a gated model -> logits [N, num_outputs]."""
        packing = Packing.of(lengths, token_ids.device)
        with attention_kernel(self.training, token_ids.device):
            logits: Tensor = self.inner(token_ids, type_ids, packing, *(() if keys is None else (keys,)))
        return logits
