"""The Python clients' retries: which errors they repeat, how long they wait, and when they stop."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from service import client as api
from service.client import Retries, async_client, client, retries
from tests.support.clients import Script, failing

ANSWER = {
    "task": "t",
    "version": 1,
    "digest": "0" * 64,
    "predictions": [{"label": "x", "score": 1.0, "scores": {"x": 1.0}, "truncated": False, "tokens": 3, "new": 1}],
    "timings_ms": {"tokenize": 1.0, "queue": 2.0, "inference": 3.0, "new": 4.0},
}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait, on a clock that only waits move; the jitter is always the maximum."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    class Clock:
        sleep = staticmethod(waited.append)
        monotonic = staticmethod(lambda: sum(waited))

    class Highest:
        uniform = staticmethod(lambda low, high: high)

    monkeypatch.setattr(client, "time", Clock)
    monkeypatch.setattr(async_client, "asyncio", SimpleNamespace(sleep=sleep, timeout=asyncio.timeout))
    monkeypatch.setattr(retries, "time", Clock)
    monkeypatch.setattr(retries, "random", Highest)
    return waited


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, api.InvalidRequest),
        (401, api.Unauthorised),
        (403, api.Forbidden),
        (404, api.NotFound),
        (413, api.InvalidRequest),
        (500, api.ServerError),
        (504, api.TimedOut),
    ],
)
def test_no_retries(make: Any, waits: list[float], status: int, kind: type[Exception]) -> None:
    """An error that a retry would not change is raised at once."""
    script = Script(failing(status))
    with make("http://x", transport=script.transport) as connected, pytest.raises(kind):
        connected.predict("t", "a")
    assert (len(script.requests), waits) == (1, [])


def test_retries(make: Any, waits: list[float]) -> None:
    """429, 503 and failed connections are retried, with waits that double up to a limit."""
    answers = [
        failing(429),
        failing(503),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut"),
        httpx.Response(200, json=ANSWER),
    ]
    script = Script(*answers)
    with make("http://x", transport=script.transport, retries=Retries(max_s=0.5)) as connected:
        found = connected.predict("t", "a")
    assert found.predictions[0].tokens == 3  # the fields that this client does not know are left out
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.5])
    limits = [int(request.headers["X-Request-Timeout-Ms"]) for request in script.requests]
    assert limits == pytest.approx([30000, 29900, 29700, 29300, 28800], abs=2)


def test_retry_after(make: Any, waits: list[float]) -> None:
    """The client waits for Retry-After (seconds or a date) plus jitter; it ignores an unreadable value."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=5), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)
    given = ["2", date, past, "soon"]
    script = Script(*(failing(429, Retry_After=text) for text in given), httpx.Response(200, json=ANSWER))
    with make("http://x", transport=script.transport) as connected:
        connected.predict("t", "a")
    assert waits[0] == pytest.approx(2.1)
    assert 3.5 <= waits[1] <= 5.3
    assert waits[2:] == pytest.approx([0.4, 0.8])


def test_jitter_is_over_the_whole_range() -> None:
    """Waits range from 0 to the maximum, so clients that failed together do not return together."""
    drawn = [retries.Attempts(Retries(base_s=1.0), 60).wait_s(api.Unreachable("x")) for _ in range(300)]
    assert min(drawn) < 0.1
    assert max(drawn) > 0.9
    assert max(drawn) <= 1.0


def test_the_end_of_retries(make: Any, waits: list[float]) -> None:
    """The last error is raised after the last attempt, or if the wait would exceed the time of the call."""
    script = Script(*[failing(503)] * 3)
    with make("http://x", transport=script.transport, retries=Retries(max_attempts=3)) as connected:
        with pytest.raises(api.Unavailable):
            connected.predict("t", "a")
        assert (len(waits), len(script.requests)) == (2, 3)
        script.answers = [failing(429, Retry_After="100")]
        with pytest.raises(api.Overloaded) as raised:
            connected.predict("t", "a", timeout_s=50)
    assert raised.value.retry_after_s == 100
    assert len(waits) == 2
