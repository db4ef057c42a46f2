"""The places at which the processes of a server meet, and the report of an engine process that has started."""

from dataclasses import dataclass
from pathlib import Path

from adapters.errors import AdapterError
from service.dispatch.engine_info import EngineInfo
from service.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Started:
    """The engine process answers HTTP processes from now on."""

    engine: EngineInfo


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The process cannot start, and ends."""

    error: AdapterError | ServiceError


def socket_in(folder: Path) -> Path:
    """Return the socket of the engine process of the server with that folder."""
    return folder / "engine"


def page_in(folder: Path) -> Path:
    """Return the file of the load page of the server with that folder."""
    return folder / "load"


def metrics_in(folder: Path) -> Path:
    """Return the folder in which all processes of the server with that folder count."""
    return folder / "metrics"
