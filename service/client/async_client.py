"""The client for asyncio: predictions and tasks. The admin calls are in the sync client only."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from .calls import (
    DEFAULT_TIMEOUT_S,
    Call,
    Input,
    PredictOptions,
    predict_call,
    predict_many_call,
    read_response,
    task_call,
    tasks_call,
)
from .connection import connection_error, connection_options
from .errors import AdaKronError
from .results import Predictions, PredictionsByTask, Task
from .retries import DEFAULT_RETRIES, Attempts, Retries

T = TypeVar("T")


class AsyncAdaKronClient:
    """A client of one server. Keep one per event loop, because its connections stay open.

    `timeout_s` limits a whole call with its retries; each call may set another. Every method raises AdaKronError.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: Retries = DEFAULT_RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises InvalidArgument if the URL or the key is malformed."""
        options = connection_options(url, key)
        self.url: str = options["base_url"]
        self._timeout_s, self._retries = timeout_s, retries
        self._http = httpx.AsyncClient(**options, transport=transport)

    async def predict(
        self,
        task: str,
        inputs: Input | Sequence[Input],
        *,
        timeout_s: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> Predictions:
        """Classify a text, a pair (a tuple) or a list of these by `sst2`, `sst2@7` or `sst2@canary`."""
        return await self._call(predict_call(task, inputs, **options), timeout_s)

    async def predict_many(
        self,
        inputs: Input | Sequence[Input],
        tasks: Sequence[str],
        *,
        timeout_s: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> PredictionsByTask:
        """Classify the same inputs by several tasks. The result holds the error of a task instead of raising it."""
        return await self._call(predict_many_call(inputs, tasks, **options), timeout_s)

    async def tasks(self, *, timeout_s: float | None = None) -> tuple[Task, ...]:
        """Return every task that is live and that the key is for."""
        return await self._call(tasks_call(), timeout_s)

    async def task(self, task: str, *, timeout_s: float | None = None) -> Task:
        """Return one task, or one version of it."""
        return await self._call(task_call(task), timeout_s)

    async def _call(self, call: Call[T], timeout_s: float | None = None) -> T:
        attempts = Attempts(self._retries, self._timeout_s if timeout_s is None else timeout_s, call.repeatable)
        while True:
            left_s = attempts.left_s
            try:
                async with asyncio.timeout(left_s):
                    response = await self._http.request(**call.request(left_s))
                return read_response(call, response)
            except httpx.RequestError as cause:
                error = connection_error(cause, self.url)
            except TimeoutError:
                raise attempts.timed_out() from None
            except AdaKronError as refused:
                error = refused
            await asyncio.sleep(attempts.wait_s(error))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
