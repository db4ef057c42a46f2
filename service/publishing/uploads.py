"""The life of an upload: permit, check, publish, warm, and only then move `live`."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from service.core import LIVE, PublishedVersion
from service.dispatch.dispatcher import Dispatcher
from service.errors import Incompatible, PreconditionFailed
from service.observability.request_context import record_span
from service.registry import Changes, Follower, Published, Registry
from service.registry.deadline import answer_deadline


@dataclass(frozen=True, eq=False)
class Uploads:
    """Publishes only files that pass every check, and makes a version live only after its adapter is loaded."""

    dispatcher: Dispatcher
    registry: Registry
    follower: Follower

    def permit(self) -> AbstractAsyncContextManager[None]:
        """Hold one of the server's permits, which bound the memory of uploads. Raises Overloaded."""
        return self.dispatcher.upload_permit()

    async def upload(
        self, task: str, data: bytes, *, activate: bool, allow_incompatible: bool, actor: str, source: str
    ) -> Published:
        """Check `data` and publish it as a version of `task`; with `activate`, return once that version serves.

        Raises UploadRefused, and Incompatible when the version is stored but not made live.
        """
        with record_span("check"):
            checked = await self.dispatcher.check_upload(data)
        async with answer_deadline():
            with record_span("publish"):
                published = await asyncio.to_thread(
                    self.registry.publish, task, checked, activate=False, actor=actor, source=source
                )
                await self.follower.refresh()
            self.dispatcher.mark_checked(checked.digest)
            if activate:
                try:
                    with record_span("activate"):
                        changes = await self._activate(
                            published.version, allow_incompatible, actor=actor, source=source
                        )
                except Incompatible:
                    await self.dispatcher.announce()  # the version is published
                    raise
                published = published._replace(changes=changes)
            await self.dispatcher.announce()
        return published

    async def _activate(
        self, version: PublishedVersion, allow_incompatible: bool, *, actor: str, source: str
    ) -> Changes | None:
        """Load `version`, then point `live` at it, unless a later version became live in the meantime.

        Returns the changes against the version that was live before.
        """
        await self.dispatcher.warm(version.adapter)
        while True:
            live = self._aliases(version.task).get(LIVE)
            try:
                moved = await asyncio.to_thread(
                    self.registry.set_alias,
                    version.task,
                    LIVE,
                    version.version,
                    expected=live,
                    allow_incompatible=allow_incompatible,
                    actor=actor,
                    source=source,
                )
            except PreconditionFailed:
                await self.follower.refresh()
                now = self._aliases(version.task).get(LIVE)
                if now is not None and now > version.version:
                    return self.follower.snapshot.tasks[version.task].changes(version)
            else:
                await self.follower.refresh()
                return moved.changes

    def _aliases(self, task: str) -> Mapping[str, int]:
        entry = self.follower.snapshot.tasks.get(task)
        return entry.aliases if entry else {}  # a restore may have removed the task
