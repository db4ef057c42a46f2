"""A limit on open connections: when it is reached, new clients take the places of idle ones."""

import contextlib
import resource
from collections.abc import Collection
from heapq import nsmallest
from typing import Protocol

_MAX_CONNECTIONS = 10_000  # of one server; each takes about 10 KiB
_RESERVED_FILES = 256  # for the registry, the engine and whatever else the process opens
_NUM_SERVERS = 2  # the public one and, with `admin_port`, the admin one
_MAX_FILES = _NUM_SERVERS * _MAX_CONNECTIONS + _RESERVED_FILES
_CLOSED_SHARE = 20  # closes one connection in this many at a time: finding the idle ones takes time


class Closable(Protocol):
    """A connection that can be closed in favour of a new one."""

    number: int  # in the order of arrival

    @property
    def idle_until(self) -> tuple[bool, float] | None:
        """(a request was answered on it, time at which its idle timer ends it); None while it is not idle."""

    def cut(self) -> None:
        """End it at once."""


def max_connections() -> int:
    """Return how many connections one server may have open under the process's limit on open files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return min(_MAX_CONNECTIONS, max(16, (limit - _RESERVED_FILES) // _NUM_SERVERS))


def make_room(connections: Collection[Closable]) -> None:
    """Close some idle connections if there are too many: first those without a response yet, then the longest idle."""
    if len(connections) <= max_connections():
        return
    idle = [(until, each.number, each) for each in connections if (until := each.idle_until)]
    for _, _, each in nsmallest(len(connections) // _CLOSED_SHARE + 1, idle):
        each.cut()


def raise_file_limit() -> None:
    """Raise the process's limit on open files to what its limit on connections needs, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(_MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
