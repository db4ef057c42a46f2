"""The life of an upload: permit, check, publish, warm, and only then move `live`."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from service.adapter_cache.cache import AdapterCache
from service.adapter_cache.loader import AdapterLoader
from service.core import LIVE, PublishedVersion
from service.errors import Overloaded, PreconditionFailed, UploadRefused
from service.observability.request_context import record_span
from service.publishing.checker import Checker
from service.registry import Changes, Follower, Published, Registry
from service.registry.deadline import answer_deadline


class Uploads:
    """Publishes only files that pass every check, and makes a version live only after its adapter is loaded."""

    def __init__(
        self,
        checker: Checker,
        registry: Registry,
        follower: Follower,
        cache: AdapterCache,
        loader: AdapterLoader,
        *,
        max_uploads: int,
    ) -> None:
        self._checker, self._registry, self._follower = checker, registry, follower
        self._cache, self._loader = cache, loader
        self._max_uploads = max_uploads
        self._num_uploads = 0

    @property
    def num_under_way(self) -> int:
        """The number of permits held."""
        return self._num_uploads

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Hold one of `max_uploads` permits, which bound the memory of uploads. Raises Overloaded."""
        if self._num_uploads >= self._max_uploads:
            message = f"{self._num_uploads} uploads are already running (ADAKRON_MAX_UPLOADS)"
            raise Overloaded(message, retry_after_s=1, reason="too_many_uploads")
        self._num_uploads += 1
        try:
            yield
        finally:
            self._num_uploads -= 1

    async def upload(
        self, task: str, data: bytes, *, activate: bool, allow_incompatible: bool, actor: str, source: str
    ) -> Published:
        """Check `data` and publish it as a version of `task`; with `activate`, return once that version serves.

        Raises UploadRefused, and Incompatible when the version is stored but not made live.
        """
        with record_span("check"):
            checked = await self._checker.check(data)
        if not self._cache.can_hold(checked.num_parameters, checked.num_outputs):
            raise UploadRefused("over_memory", "the adapter alone needs more than ADAKRON_ADAPTER_MEMORY_BYTES")
        async with answer_deadline():
            with record_span("publish"):
                published = await asyncio.to_thread(
                    self._registry.publish, task, checked, activate=False, actor=actor, source=source
                )
                await self._follower.refresh()
            self._loader.mark_checked(checked.digest)
            if activate:
                with record_span("activate"):
                    changes = await self._activate(published.version, allow_incompatible, actor=actor, source=source)
                return published._replace(changes=changes)
        return published

    async def _activate(
        self, version: PublishedVersion, allow_incompatible: bool, *, actor: str, source: str
    ) -> Changes | None:
        """Load `version`, then point `live` at it, unless a later version became live in the meantime.

        Returns the changes against the version that was live before.
        """
        await self._cache.warm(version)
        while True:
            live = self._aliases(version.task).get(LIVE)
            try:
                moved = await asyncio.to_thread(
                    self._registry.set_alias,
                    version.task,
                    LIVE,
                    version.version,
                    expected=live,
                    allow_incompatible=allow_incompatible,
                    actor=actor,
                    source=source,
                )
            except PreconditionFailed:
                await self._follower.refresh()
                now = self._aliases(version.task).get(LIVE)
                if now is not None and now > version.version:
                    return self._follower.snapshot.tasks[version.task].changes(version)
            else:
                await self._follower.refresh()
                return moved.changes

    def _aliases(self, task: str) -> Mapping[str, int]:
        entry = self._follower.snapshot.tasks.get(task)
        return entry.aliases if entry else {}  # a restore may have removed the task
