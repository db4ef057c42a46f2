"""The sync client."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from .admin import Admin
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


class AdaKronClient:
    """A client of one server. Threads may share it; keep it, because its connections stay open.

    `timeout_s` limits a whole call with its retries; each call may set another. Every method raises AdaKronError.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: Retries = DEFAULT_RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Raises InvalidArgument if the URL or the key is malformed."""
        options = connection_options(url, key)
        self.url: str = options["base_url"]
        self.admin = Admin(self._call)
        self._timeout_s, self._retries = timeout_s, retries
        self._http = httpx.Client(**options, transport=transport)

    def predict(
        self,
        task: str,
        inputs: Input | Sequence[Input],
        *,
        timeout_s: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> Predictions:
        """Classify a text, a pair (a tuple) or a list of these by `sst2`, `sst2@7` or `sst2@canary`."""
        return self._call(predict_call(task, inputs, **options), timeout_s)

    def predict_many(
        self,
        inputs: Input | Sequence[Input],
        tasks: Sequence[str],
        *,
        timeout_s: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> PredictionsByTask:
        """Classify the same inputs by several tasks. The result holds the error of a task instead of raising it."""
        return self._call(predict_many_call(inputs, tasks, **options), timeout_s)

    def tasks(self, *, timeout_s: float | None = None) -> tuple[Task, ...]:
        """Return every task that is live and that the key is for."""
        return self._call(tasks_call(), timeout_s)

    def task(self, task: str, *, timeout_s: float | None = None) -> Task:
        """Return one task, or one version of it."""
        return self._call(task_call(task), timeout_s)

    def _call(self, call: Call[T], timeout_s: float | None = None) -> T:
        attempts = Attempts(self._retries, self._timeout_s if timeout_s is None else timeout_s, call.repeatable)
        while True:
            try:
                return read_response(call, self._http.request(**call.request(attempts.left_s)))
            except httpx.RequestError as cause:
                error = connection_error(cause, self.url)
            except AdaKronError as refused:
                error = refused
            time.sleep(attempts.wait_s(error))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
