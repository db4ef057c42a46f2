"""The settings of a peer, passed by the benchmark as JSON in the environment."""

import json
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class PeerSettings:
    """The settings that the peers' documentation recommends to tune."""

    port: int = 8100
    num_threads: int = 1  # of torch, in each worker
    num_workers: int = 1  # processes with a model of their own
    max_batch: int = 64  # requests that are taken together
    batch_wait_s: float = 0.0  # for more requests, once there is one
    padded_rows: int = 16  # rows of one forward: the batch is sorted by length and cut into pieces of this many
    dtype: str = "float32"  # or bfloat16: the forward under torch.autocast
    variant: str = ""  # a way of serving that only this peer has


def read_settings() -> PeerSettings:
    """Read PEER_SETTINGS; missing settings have their defaults."""
    return PeerSettings(**json.loads(os.environ.get("PEER_SETTINGS", "{}")))
