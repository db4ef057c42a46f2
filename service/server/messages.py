"""The messages between the supervisor and an HTTP process."""

from dataclasses import dataclass

from adapters.errors import AdapterError
from service.dispatch.engine_info import EngineInfo
from service.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Begin:
    """The engine process is ready: connect to it, and listen."""

    engine: EngineInfo


@dataclass(frozen=True, slots=True)
class Listening:
    """The HTTP process answers requests from now on."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The HTTP process cannot start, and ends."""

    error: AdapterError | ServiceError


@dataclass(frozen=True, slots=True)
class Alive:
    """The event loop of the HTTP process runs."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Be not ready from now on, stop to listen after `wait_s` seconds, answer what has arrived, and end."""

    wait_s: float
