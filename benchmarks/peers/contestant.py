"""A contestant: a server that can be started, asked and checked."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

Asked = tuple[int, str]  # number of the task, text
TOLERANCE = 1e-3  # of a probability in float32
TOLERANCE_16_BITS = 0.01  # in bfloat16 or int8, against float32


@dataclass(frozen=True)
class Running:
    """A server that answers on 127.0.0.1."""

    port: int
    pid: int  # of the process that has started all others


@dataclass(frozen=True)
class Contestant:
    """One server of the comparison."""

    name: str
    title: str
    num_tasks: int
    settings: dict[str, Any]  # that it is tuned with
    start: Callable[[], AbstractContextManager[Running]]
    request: Callable[[int, str], bytes]  # number of the task, text -> HTTP
    read: Callable[[Any], tuple[str, float]]  # decoded JSON -> label, score
    direct: Callable[[Sequence[Asked]], list[list[float]]]  # probabilities [no, yes] computed without the server
    versions: Callable[[], dict[str, str]]
    tolerance: float = TOLERANCE  # of a probability, between a text alone and in a padded batch of mixed tasks
    is_ours: bool = False
