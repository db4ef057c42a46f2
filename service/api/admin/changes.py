"""Changes to the registry on behalf of a request, and the entries that routes look up."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from service.api.http.auth import Caller, client_address
from service.api.state import LATE_S, ServerState, State
from service.auth.permissions import actor_of
from service.errors import UnknownTask
from service.registry import TaskEntry
from service.registry.deadline import answer_deadline

_T = TypeVar("_T")


@dataclass(frozen=True)
class RegistryWriter:
    """Changes the registry in the name of one request's caller."""

    state: ServerState
    actor: str  # as the audit log names the caller
    source: str  # the caller's address

    async def write(self, change: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
        """Call `change`, a method of Registry, in a thread, and wait until every process of this server obeys it.

        Raises what `change` raises, RegistryUnavailable when it takes too long.
        """
        async with answer_deadline(lambda: self.state.find_hang(LATE_S)):
            result = await asyncio.to_thread(change, *arguments, **options, actor=self.actor, source=self.source)
            await self.state.follower.refresh()
            await self.state.dispatcher.announce()
        return result


async def _writer(request: Request, state: State, caller: Caller) -> RegistryWriter:
    return RegistryWriter(state, actor_of(caller), client_address(request))


Writer = Annotated[RegistryWriter, Depends(_writer)]


def find_entry(state: ServerState, task: str) -> TaskEntry:
    """Return the entry of `task`. Raises UnknownTask."""
    entry = state.follower.snapshot.tasks.get(task)
    if entry is None:
        raise UnknownTask(task)
    return entry
