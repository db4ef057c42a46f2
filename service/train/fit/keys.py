"""KeyTable: the keys of a gated training, by their salted digests, in the order of the file."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adapters.config import DIGEST_BYTES, GATE_KEYS, GATE_MEAN, GATE_TABLE, MAX_EXPERTS, MIN_EXPERTS, GatesConfig
from adapters.method.gated import UNKNOWN, GatedModel
from service.train.errors import TrainingError
from service.train.options import FitOptions


@dataclass(frozen=True, eq=False)
class KeyTable:
    """N keys; the number of a key is its row in the file."""

    config: GatesConfig
    digests: np.ndarray  # [N, 16] uint8, ascending

    @classmethod
    def of(cls, config: GatesConfig, keys: Iterable[str]) -> "KeyTable":
        """Number the different keys among `keys`."""
        digests = sorted({config.digest(key) for key in set(keys)})
        return cls(config, np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES).copy())

    def __len__(self) -> int:
        return len(self.digests)

    def number(self, keys: Sequence[str]) -> np.ndarray:
        """Return the numbers of `keys`, [len(keys)] int64, UNKNOWN for a key that the table lacks."""
        rows = {digest.tobytes(): row for row, digest in enumerate(self.digests)}
        known = {key: rows.get(self.config.digest(key), UNKNOWN) for key in set(keys)}
        return np.array([known[key] for key in keys], dtype=np.int64)

    def tensors(self, model: GatedModel) -> dict[str, Tensor]:
        """Return the gates of a gated file: digests, the table, and its mean."""
        return {
            GATE_KEYS: torch.from_numpy(self.digests),
            GATE_TABLE: model.gates.table().detach(),
            GATE_MEAN: model.gates.mean().detach(),
        }


def make_salt(seed: int, train_sha256: str) -> str:
    """Derive the salt of a file, 32 hex digits, from its training: the same training gives the same file."""
    return hashlib.blake2b(
        f"{seed} {train_sha256}".encode(), digest_size=DIGEST_BYTES, person=b"adakron-salt"
    ).hexdigest()


def check_gated(options: FitOptions) -> None:
    """Raise TrainingError for options that gates do not go with."""
    if options.method != "adakron":
        raise TrainingError(f"--gate mixes experts of AdaKron, not of --method {options.method}: leave that out")
    if not MIN_EXPERTS <= options.experts <= MAX_EXPERTS:
        raise TrainingError(f"--experts {options.experts}: a gate mixes {MIN_EXPERTS} to {MAX_EXPERTS} experts")
