"""A bound on open connections: when it is reached, new clients take the places of silent ones."""

import contextlib
import resource
from collections.abc import Collection
from heapq import nsmallest
from typing import Protocol

_MAX_CONNECTIONS = 10_000  # of one server; each takes about 10 KiB
_RESERVED_FILES = 256  # for the registry, the engine and whatever else the process opens
_NUM_SERVERS = 2  # the public one and, with `admin_port`, the operators'
_MAX_FILES = _NUM_SERVERS * _MAX_CONNECTIONS + _RESERVED_FILES
_CLOSED_AT_ONCE = 20  # one of so many: to find the silent ones takes time


class Closable(Protocol):
    """A connection, as far as it is to be closed in favour of another."""

    @property
    def silent_until(self) -> tuple[bool, float] | None:
        """Whether it has had an answer, and when its silence ends it; None while it is not silent."""

    def cut(self) -> None:
        """End it at once."""


def max_connections() -> int:
    """Open connections that one server may have under the process's limit on open files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return min(_MAX_CONNECTIONS, max(16, (limit - _RESERVED_FILES) // _NUM_SERVERS))


def make_room(connections: Collection[Closable]) -> None:
    """Close some silent connections if there are too many, first those without an answer yet, with least time left."""
    if len(connections) <= max_connections():
        return
    silent = [(until, number, each) for number, each in enumerate(connections) if (until := each.silent_until)]
    for _, _, each in nsmallest(len(connections) // _CLOSED_AT_ONCE + 1, silent):
        each.cut()


def raise_file_limit() -> None:
    """Let the process open as many files as its bound on connections needs, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(_MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
