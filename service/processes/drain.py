"""Drain: whether this server has begun to end."""

import asyncio


class Drain:
    """One for all that belongs to a server. Owned by the event loop."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    @property
    def begun(self) -> bool:
        """From now on the server is not ready, and clients are told to use another connection for the next request."""
        return self._begun.is_set()

    def begin(self) -> None:
        """What is under way goes on, and so does what comes, until the server stops listening."""
        self._begun.set()

    async def wait(self) -> None:
        """Return when it has begun."""
        await self._begun.wait()
