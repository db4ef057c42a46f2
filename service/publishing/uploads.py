"""The life of an upload: permit, check, load, publish and make live at once, announce."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from service.dispatch.dispatcher import Dispatcher
from service.errors import Incompatible
from service.observability.request_context import record_span
from service.registry import Follower, Published, Registry
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

        With `activate` the adapter is loaded before anything is stored. One transaction publishes the version and makes
        it live, so of two uploads the later version stays live. Raises UploadRefused, AdapterUnavailable, and
        Incompatible when the version is stored but not made live.
        """
        with record_span("check"):
            checked = await self.dispatcher.check_upload(data, load=activate)
        async with answer_deadline():
            try:
                with record_span("publish"):
                    published = await asyncio.to_thread(
                        self.registry.publish,
                        task,
                        checked,
                        activate=activate,
                        allow_incompatible=allow_incompatible,
                        actor=actor,
                        source=source,
                    )
            except Incompatible:
                await self._announce()  # the version is published
                raise
            await self._announce()
        return published

    async def _announce(self) -> None:
        """Wait until every process of the server, this one included, has read the registry."""
        with record_span("announce"):
            await asyncio.gather(self.follower.refresh(), self.dispatcher.announce())
