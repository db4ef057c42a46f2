"""The life of an upload: check, dry run, publish, warm, and only then the flip of `live`."""

import asyncio
from collections.abc import Mapping

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.errors import CheckpointError
from adapters.source import LoadedBackbone
from adapters.verification import verify
from service.core import LIVE, PublishedVersion
from service.errors import PreconditionFailed, UploadRefused
from service.metrics import Metrics
from service.registry import Follower, Registry
from service.slots import Slots


class Uploads:
    """Nothing is stored unless every check passes; no request meets a version that is not warm."""

    def __init__(
        self, loaded: LoadedBackbone, registry: Registry, follower: Follower, slots: Slots, metrics: Metrics
    ) -> None:
        self._loaded, self._registry, self._follower = loaded, registry, follower
        self._slots, self._metrics = slots, metrics
        self._one_at_a_time = asyncio.Semaphore(1)  # a check costs a core; predictions keep the others

    async def upload(
        self, task: str, data: bytes, *, activate: bool, actor: str, source: str
    ) -> tuple[PublishedVersion, bool]:
        """Publish `data` as a version of `task`; with `activate`, it answers as soon as this returns.

        The bool is False where exactly these bytes were a version already. Raises UploadRefused.
        """
        async with self._one_at_a_time:
            try:
                await asyncio.to_thread(self._check, data)
            except UploadRefused as error:
                self._metrics.uploads.labels(error.reason).inc()
                raise
            version, created = await asyncio.to_thread(
                self._registry.publish, task, data, activate=False, actor=actor, source=source
            )
            await self._follower.refresh()
            if activate:
                await self.activate(version, actor=actor, source=source)
        self._metrics.uploads.labels("created" if created else "unchanged").inc()
        return version, created

    async def activate(self, version: PublishedVersion, *, actor: str, source: str) -> None:
        """Warm `version`, then point `live` at it, unless a later version was made live meanwhile."""
        await self._slots.warm(version)
        while True:
            live = self._aliases(version.task).get(LIVE)
            try:
                await asyncio.to_thread(
                    self._registry.set_alias,
                    version.task,
                    LIVE,
                    version.version,
                    expected=live,
                    actor=actor,
                    source=source,
                )
            except PreconditionFailed:
                await self._follower.refresh()
                now = self._aliases(version.task).get(LIVE)
                if now is not None and now > version.version:
                    return
            else:
                await self._follower.refresh()
                return

    def _aliases(self, task: str) -> Mapping[str, int]:
        return self._follower.snapshot.tasks[task].aliases

    def _check(self, data: bytes) -> Adapter:
        try:
            adapter = checkpoint.loads(data, self._loaded.identity)
            verify(self._loaded, adapter)
        except CheckpointError as error:
            raise UploadRefused(error.reason, str(error)) from error
        return adapter
