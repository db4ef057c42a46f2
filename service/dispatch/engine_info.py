"""EngineInfo: the device and the type with which a server computes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The engine, for health checks and metrics."""

    device: str  # as torch names it
    dtype: str  # as torch names it: float32
