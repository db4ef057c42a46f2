"""The same client for asyncio."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx

from service.sdk.calls import (
    DEFAULT_TIMEOUT_S,
    Call,
    Input,
    ScoresAs,
    Truncation,
    headers_of,
    predict_call,
    predict_many_call,
    result_of,
    task_call,
    tasks_call,
    time_limit_header,
    transport_error,
)
from service.sdk.errors import AdaKronError
from service.sdk.local import is_local
from service.sdk.results import Predictions, PredictionsByTask, Task
from service.sdk.retries import DEFAULT_RETRIES, Attempts, Retries

T = TypeVar("T")


class AsyncAdaKronClient:
    """One server. Keep one for an event loop, for its connections stay open.

    `timeout_s` is for a whole call, with its retries; each call may give another. Every method raises AdaKronError.
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
        self._url, self._timeout_s, self._retries = url.rstrip("/"), timeout_s, retries
        self._http = httpx.AsyncClient(
            base_url=self._url, headers=headers_of(key), transport=transport, trust_env=not is_local(self._url)
        )

    async def predict(
        self,
        task: str,
        inputs: Input | Sequence[Input],
        *,
        top_k: int | None = None,
        raw_scores: bool = False,
        truncation: Truncation | None = None,
        scores_as: ScoresAs = "object",
        timeout_s: float | None = None,
    ) -> Predictions:
        """Classify a text, a pair (a tuple) or a list of these by `sst2`, `sst2@7` or `sst2@canary`.

        `scores` of the result are in the order of the labels, or as a list (and with `top_k`) best first.
        """
        return await self._call(predict_call(task, inputs, top_k, raw_scores, truncation, scores_as), timeout_s)

    async def predict_many(
        self,
        inputs: Input | Sequence[Input],
        tasks: Sequence[str],
        *,
        top_k: int | None = None,
        raw_scores: bool = False,
        truncation: Truncation | None = None,
        scores_as: ScoresAs = "object",
        timeout_s: float | None = None,
    ) -> PredictionsByTask:
        """The same by several tasks at once. An error of one of them is in its place, and not raised."""
        return await self._call(predict_many_call(inputs, tasks, top_k, raw_scores, truncation, scores_as), timeout_s)

    async def tasks(self, *, timeout_s: float | None = None) -> tuple[Task, ...]:
        """Every task that answers now and that the key is for."""
        return await self._call(tasks_call(), timeout_s)

    async def task(self, task: str, *, timeout_s: float | None = None) -> Task:
        """One of them, or one version of it."""
        return await self._call(task_call(task), timeout_s)

    async def _call(self, call: Call[T], timeout_s: float | None) -> T:
        attempts = Attempts(self._retries, self._timeout_s if timeout_s is None else timeout_s)
        while True:
            left_s = attempts.left_s
            try:
                async with asyncio.timeout(left_s):
                    response = await self._http.request(
                        call.method, call.path, json=call.body, headers=time_limit_header(left_s), timeout=left_s
                    )
                return result_of(call, response)
            except httpx.TransportError as cause:
                error = transport_error(cause, self._url)
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
