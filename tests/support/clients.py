"""Python clients against scripted answers, and the async client without await."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from service.client import AsyncAdaKronClient


class Blocking:
    """The async client with the methods of the sync client."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._made(*arguments, **options))

    async def _made(self, *arguments: Any, **options: Any) -> AsyncAdaKronClient:
        return AsyncAdaKronClient(*arguments, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._runner.run(method(*arguments, **options))

    def __enter__(self) -> "Blocking":
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


class Script:
    """A transport that returns or raises these answers, one after the other."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._next)

    def _next(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def failing(status: int, **headers: str) -> httpx.Response:
    body = {"error": "wrong", "error_type": "kind", "reason": "why"}
    return httpx.Response(status, json=body, headers={name.replace("_", "-"): text for name, text in headers.items()})
