"""How long a caller waits for the registry's database, all the calls of one request together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import RegistryUnavailable

ANSWER_TIMEOUT_S = 1.8  # so that an answer is there within 2 s


@asynccontextmanager
async def answer_deadline() -> AsyncIterator[None]:
    """Calls inside that wait for the database end after ANSWER_TIMEOUT_S. Raises RegistryUnavailable."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            yield
    except TimeoutError:
        raise RegistryUnavailable(
            f"the registry's database did not answer within {ANSWER_TIMEOUT_S:g} s; "
            "a change that was asked for may have been made all the same: look before you ask again"
        ) from None
