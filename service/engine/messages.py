"""The messages between EngineProcess, in the server, and EngineServer, in the engine's process."""

from dataclasses import dataclass

import numpy as np

from adapters.serving.batch import BatchTokens
from service.errors import ServiceError


@dataclass(frozen=True)
class Started:
    """The engine has loaded its backbone."""

    name: str
    dtype: str
    item_bytes: int  # of a weight
    hidden_size: int


@dataclass(frozen=True)
class StartFailed:
    """The engine cannot load its backbone, and ends."""

    message: str


@dataclass(frozen=True)
class Write:
    """Put an adapter into a slot. Answered by Done or Failed."""

    number: int
    slot: int
    digest: str
    data: bytes
    checked: bool


@dataclass(frozen=True)
class Clear:
    """Free a slot. Not answered."""

    slot: int


@dataclass(frozen=True, eq=False)
class Prepare:
    """Prepare a batch. Not answered: an error is answered to its Compute."""

    number: int
    batch: BatchTokens


@dataclass(frozen=True)
class Compute:
    """Compute the batch that was prepared under `number`. Answered by Computed or Failed."""

    number: int


@dataclass(frozen=True)
class Done:
    """A Write has succeeded."""

    number: int


@dataclass(frozen=True, eq=False)
class Computed:
    """The logits of a batch: of each segment the shape [inputs, num outputs], and all values side by side."""

    number: int
    shapes: list[tuple[int, int]]
    values: np.ndarray  # float32


@dataclass(frozen=True)
class Failed:
    """A Write or a Compute has failed."""

    number: int
    error: ServiceError


Request = Write | Clear | Prepare | Compute
Answer = Done | Computed | Failed
