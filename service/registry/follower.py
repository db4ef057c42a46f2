"""Follower: the snapshot that a process serves from, brought up to date as others publish."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from service.errors import RegistryUnavailable
from service.registry.listener import Listener
from service.registry.snapshot import NOTHING, Snapshot
from service.registry.store import Registry
from service.registry.time_limit import CALL_TIMEOUT_S

FIRST_TIMEOUT_S = 60  # of the first snapshot, which reads all that there is

logger = logging.getLogger(__name__)


class Follower:
    """Looks at the registry when the database tells of a change, and every `poll_s` seconds.

    While the database is away, the last snapshot goes on being served.
    """

    def __init__(self, registry: Registry, poll_s: float, on_change: Callable[[Snapshot], None] | None = None) -> None:
        self._registry = registry
        self._poll_s = poll_s
        self._on_change = on_change
        self._snapshot = NOTHING  # until `start`
        self._loading = asyncio.Lock()  # one at a time, so that an older snapshot never replaces a newer one
        self._wake = asyncio.Event()  # a change was told, or `stop` was called
        self._stopping = False
        self._listener: Listener | None = None
        self._following: asyncio.Task[None] | None = None
        self._failing = False  # the last look failed, and that is logged
        self._read_at = time.monotonic()

    @property
    def snapshot(self) -> Snapshot:
        """The newest one that this process has."""
        return self._snapshot

    @property
    def age_s(self) -> float:
        """Seconds since the registry was last read, whether or not it had changed."""
        return time.monotonic() - self._read_at

    async def start(self) -> None:
        """Load the first snapshot (`on_change` is told), then follow. Raises RegistryUnavailable."""
        await self._load(FIRST_TIMEOUT_S)
        loop = asyncio.get_running_loop()
        self._listener = self._registry.listener(lambda: loop.call_soon_threadsafe(self._wake.set), self._poll_s)
        if self._listener is not None:
            self._listener.start()
        self._following = asyncio.create_task(self._follow(), name="registry-follower")

    async def stop(self) -> None:
        """Follow no more; when this returns no thread uses the registry for it. Takes CALL_TIMEOUT_S at most."""
        self._stopping = True
        self._wake.set()
        if self._listener is not None:
            await asyncio.to_thread(self._listener.stop)
        if self._following is not None:
            await self._following

    async def refresh(self) -> Snapshot:
        """What is in the registry now, own writes included. Raises RegistryUnavailable."""
        return await self._load(CALL_TIMEOUT_S)

    async def _load(self, timeout_s: float) -> Snapshot:
        async with self._loading:
            snapshot = await asyncio.to_thread(self._registry.snapshot, timeout_s)
            self._read_at = time.monotonic()
            # Different, not greater: an older file that is put back takes the revision back too.
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
                await self._look()

    async def _look(self) -> None:
        try:
            await self.refresh()  # reads one number where nothing has changed
        except Exception as error:  # whatever it is, a follower that ends for good would serve old versions for ever
            if not self._failing:
                known = isinstance(error, RegistryUnavailable)
                logger.warning("cannot follow the registry, serving what is known: %s", error, exc_info=not known)
            self._failing = True
        else:
            if self._failing:
                logger.warning("following the registry again, at revision %d", self._snapshot.revision)
            self._failing = False
