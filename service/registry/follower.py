"""Follower: the snapshot that a process serves from, brought up to date as others publish."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from service.errors import RegistryUnavailable
from service.registry.snapshot import NOTHING, Snapshot
from service.registry.store import Registry

logger = logging.getLogger(__name__)


class Follower:
    """Polls the registry's revision. While the database is away, the last snapshot goes on being served."""

    def __init__(self, registry: Registry, poll_s: float, on_change: Callable[[Snapshot], None] | None = None) -> None:
        self._registry = registry
        self._poll_s = poll_s
        self._on_change = on_change
        self._snapshot = NOTHING  # until `start`
        self._loading = asyncio.Lock()  # one at a time, so that an older snapshot never replaces a newer one
        self._stopping = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None
        self._failing = False  # the last poll failed, and that is logged

    @property
    def snapshot(self) -> Snapshot:
        """The newest one that this process has."""
        return self._snapshot

    async def start(self) -> None:
        """Load the first snapshot (`on_change` is told), then poll. Raises RegistryUnavailable."""
        await self.refresh()
        self._polling = asyncio.create_task(self._poll(), name="registry-follower")

    async def stop(self) -> None:
        """Poll no more; when this returns no thread uses the registry for it."""
        self._stopping.set()
        if self._polling is not None:
            await self._polling

    async def refresh(self) -> Snapshot:
        """What is in the registry now, own writes included. Raises RegistryUnavailable."""
        async with self._loading:
            snapshot = await asyncio.to_thread(self._registry.snapshot)
            changed = snapshot.revision != self._snapshot.revision
            self._snapshot = snapshot
            if changed and self._on_change is not None:
                self._on_change(snapshot)
        return snapshot

    async def _poll(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._poll_s)
                return
            await self._follow()

    async def _follow(self) -> None:
        try:
            # Different, not greater: a backup that is put back takes the revision back too.
            if await asyncio.to_thread(self._registry.revision) != self._snapshot.revision:
                await self.refresh()
        except Exception as error:  # whatever it is, a poll that ends for good would serve old versions for ever
            if not self._failing:
                known = isinstance(error, RegistryUnavailable)
                logger.warning("cannot follow the registry, serving what is known: %s", error, exc_info=not known)
            self._failing = True
        else:
            if self._failing:
                logger.warning("following the registry again, at revision %d", self._snapshot.revision)
            self._failing = False
