"""The sockets that a server listens on. They are bound here; an HTTP process listens once it can answer."""

import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from service.errors import InvalidInput
from service.settings.environment import PREFIX
from service.settings.web import bracketed

PREFIXES = (PREFIX, f"{PREFIX}ADMIN_")  # of the names of the settings for the public and the admin address
EVERY_ADDRESS = {"::": ("::", "0.0.0.0")}  # one socket per family, so that IPv4 clients keep their addresses

logger = logging.getLogger(__name__)

Address = tuple[socket.AddressFamily, tuple[str, int]]


def open_for_processes(places: Sequence[tuple[str, int]], num_processes: int) -> list[list[list[socket.socket]]]:
    """Open the sockets of each HTTP process for each of `places`, as `open_all` does.

    On Linux each process has sockets of its own on the shared ports, among which the kernel distributes connections;
    elsewhere all processes accept from the same ones.
    """
    first = open_all(places)
    if num_processes == 1 or sys.platform != "linux":
        return [first] * num_processes
    addresses = [[(each.family, each.getsockname()) for each in opened] for opened in first]
    for opened in first:  # they have shown that no other program listens there, which SO_REUSEPORT would allow
        for each in opened:
            each.close()
    return [
        [[_bind(family, address, reuse_port=True) for family, address in group] for group in addresses]
        for _ in range(num_processes)
    ]


@contextmanager
def claimed(opened: Sequence[Sequence[socket.socket]]) -> Iterator[None]:
    """Keep other servers from the addresses of the public and the admin port while inside.

    The kernel lets two servers bind an address as long as neither listens, and with SO_REUSEPORT even share it. A name
    of an abstract Unix socket has one owner, and belongs to the same network namespace as the ports. Raises
    InvalidInput if another server has an address.
    """
    with ExitStack() as stack:
        for prefix, group in zip(PREFIXES, opened, strict=False):
            for each in group if sys.platform == "linux" else ():
                claim = stack.enter_context(socket.socket(socket.AF_UNIX))
                try:
                    claim.bind(f"\0adakron-serve {_shown(each)}")
                except OSError as error:
                    raise InvalidInput(
                        f"{prefix}PORT: cannot listen on {_shown(each)}: another server has it"
                    ) from error
        yield


def open_all(places: Sequence[tuple[str, int]]) -> list[list[socket.socket]]:
    """Open the sockets of the public and the admin host and port; close all again if one fails."""
    with ExitStack() as stack:
        opened: list[list[socket.socket]] = []
        for prefix, (host, port) in zip(PREFIXES, places, strict=False):
            if port and any(port == each.getsockname()[1] for each in _taken_by(host, opened)):
                raise InvalidInput(
                    f"{prefix}PORT: {port} is the public port, too: choose another one than ADAKRON_PORT, or 0 for a "
                    "free one"
                )
            opened.append(open_sockets(host, port, prefix))
            for each in opened[-1]:
                stack.callback(each.close)
        stack.pop_all()
    return opened


def _taken_by(host: str, opened: Sequence[Sequence[socket.socket]]) -> list[socket.socket]:
    """Return the sockets that leave `host` no room on their port: those of its address, or of every address."""
    addresses = {address[0] for _, address in _addresses(host, 0, f"{PREFIXES[1]}HOST")} if opened else set()
    every = {"0.0.0.0", "::"}
    return [
        each for group in opened for each in group if each.getsockname()[0] in addresses | every or addresses & every
    ]


def open_sockets(host: str, port: int, prefix: str = PREFIXES[0]) -> list[socket.socket]:
    """Open sockets on every address of `host`, all on one port; `::` is every address of both families.

    Logs an address that this machine lacks, if there is another one. Raises InvalidInput if there is none, or if
    another program uses the port; the message names the setting to change, which begins with `prefix`.
    """
    opened: list[socket.socket] = []
    failures: list[str] = []
    setting = f"{prefix}HOST"
    for family, address in _addresses(host, port, setting):
        if opened:
            address = (address[0], opened[0].getsockname()[1], *address[2:])  # the free port, if `port` is 0
        try:
            opened.append(_bind(family, address))
        except OSError as error:
            failures.append(f"{bracketed(address[0])}:{address[1]}: {os.strerror(error.errno or errno.EINVAL)}")
            if error.errno in (errno.EADDRINUSE, errno.EACCES):  # the latter: a port below 1024
                setting = f"{prefix}PORT"
                for each in opened:
                    each.close()
                opened = []
                break
    if not opened:
        raise InvalidInput(f"{setting}: cannot listen on {failures[-1]} (`adakron doctor` looks at ports)")
    for failure in failures:
        logger.warning("not listening on %s", failure)
    logger.info("addresses: %s", ", ".join(_shown(each) for each in opened))
    return opened


def _bind(family: socket.AddressFamily, address: tuple[str, int], *, reuse_port: bool = False) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _addresses(host: str, port: int, setting: str) -> list[Address]:
    found: dict[Address, None] = {}
    for name in EVERY_ADDRESS.get(host, (host,)):
        try:
            infos = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:  # the latter: a label of a name is empty or too long
            reason = getattr(error, "strerror", None) or "not a host name"
            raise InvalidInput(f"{setting}: cannot listen on {host!r}: {reason}") from error
        found |= {(family, address): None for family, _, _, _, address in infos}  # type: ignore[misc]
    return list(found)


def _shown(opened: socket.socket) -> str:
    host, port = opened.getsockname()[:2]
    return f"{bracketed(host)}:{port}"
