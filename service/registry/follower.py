"""Follower: keeps the snapshot that a process serves from up to date with the registry."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from service.errors import RegistryUnavailable
from service.registry.listener import Listener
from service.registry.snapshot import EMPTY, Snapshot
from service.registry.store import Registry

FIRST_TIMEOUT_S = 60  # of the first snapshot, which reads everything

logger = logging.getLogger(__name__)


class Follower:
    """Reads the registry when the database announces a change, and every `poll_s` seconds.

    While the database is unavailable, the last snapshot is served.
    """

    def __init__(self, registry: Registry, poll_s: float, on_change: Callable[[Snapshot], None] | None = None) -> None:
        self._registry = registry
        self._poll_s = poll_s
        self._on_change = on_change
        self._snapshot = EMPTY  # until `start`
        self._loading = asyncio.Lock()  # one at a time, so that an older snapshot never replaces a newer one
        self._wake = asyncio.Event()  # set by the listener and by `stop`
        self._stopping = False
        self._listener: Listener | None = None
        self._following: asyncio.Task[None] | None = None
        self._failing = False  # the last read failed, which is logged once
        self._read_at = time.monotonic()

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot that this process has."""
        return self._snapshot

    @property
    def age_s(self) -> float:
        """Seconds since the registry was last read, whether or not it had changed."""
        return time.monotonic() - self._read_at

    async def start(self) -> None:
        """Read the first snapshot, pass it to `on_change`, and follow. Raises RegistryUnavailable."""
        await self._load(FIRST_TIMEOUT_S)
        loop = asyncio.get_running_loop()
        self._listener = self._registry.listener(lambda: loop.call_soon_threadsafe(self._wake.set), self._poll_s)
        if self._listener is not None:
            self._listener.start()
        self._following = asyncio.create_task(self._follow(), name="registry-follower")

    async def stop(self) -> None:
        """Stop following, within CALL_TIMEOUT_S; afterwards no thread of the follower uses the registry."""
        self._stopping = True
        self._wake.set()
        if self._listener is not None:
            await asyncio.to_thread(self._listener.stop)
        if self._following is not None:
            await self._following

    async def refresh(self) -> Snapshot:
        """Read the registry now, with the caller's own writes. Raises RegistryUnavailable."""
        return await self._load()

    async def _load(self, timeout_s: float | None = None) -> Snapshot:
        async with self._loading:
            snapshot = await asyncio.to_thread(self._registry.snapshot, timeout_s)
            self._read_at = time.monotonic()
            # Compared with !=: if the database is replaced by an older one, the revision falls.
            changed = snapshot.revision != self._snapshot.revision
            self._snapshot = snapshot
            if changed and self._on_change is not None:
                self._on_change(snapshot)
        return snapshot

    async def _follow(self) -> None:
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll_s)
            if not self._stopping:
                self._wake.clear()
                await self._refresh_or_log()

    async def _refresh_or_log(self) -> None:
        try:
            await self.refresh()  # reads one number if nothing has changed
        except Exception as error:  # any error: a follower that ended would serve old versions for ever
            if not self._failing:
                known = isinstance(error, RegistryUnavailable)
                logger.warning(
                    "cannot follow the registry, serving the last known state: %s", error, exc_info=not known
                )
            self._failing = True
        else:
            if self._failing:
                logger.warning("following the registry again, at revision %d", self._snapshot.revision)
            self._failing = False
