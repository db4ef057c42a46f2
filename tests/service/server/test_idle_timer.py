"""IdleTimer calls at the same times as a timer that is set anew with each start, and sets far fewer."""

import asyncio
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from service.server.connection.idle_timer import IdleTimer


class Handle:
    """A timer of FakeLoop."""

    is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeLoop:
    """An event loop's clock and timers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Handle, Any]] = []
        self.num_set = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any) -> Handle:
        self.num_set += 1
        self.timers.append((when, Handle(), callback))
        return self.timers[-1][1]

    def advance(self, seconds: float) -> None:
        """Let time pass, and call what expires."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= end and not timer[1].is_cancelled]:
            first = min(due, key=lambda timer: timer[0])
            self.timers.remove(first)
            self.now = max(self.now, first[0])
            first[2]()
        self.now = end


def make() -> tuple[FakeLoop, list[float], IdleTimer]:
    loop, called = FakeLoop(), []
    timer = IdleTimer(cast(asyncio.AbstractEventLoop, loop), lambda: called.append(loop.now))
    return loop, called, timer


@given(st.lists(st.tuples(st.sampled_from(["start", "stop", "wait"]), st.integers(1, 20)), max_size=30))
def test_it_calls_as_a_timer_that_is_set_anew(steps: list[tuple[str, int]]) -> None:
    """For any order of starts and stops it calls once for each start that nothing follows in its time."""
    loop, called, timer = make()
    now, ends_at, expected = 0, None, []
    for step, seconds in [*steps, ("wait", 100)]:
        if step == "start":
            timer.start(seconds)
            ends_at = now + seconds
        elif step == "stop":
            timer.stop()
            ends_at = None
        else:
            loop.advance(seconds)
            now += seconds
            if ends_at is not None and ends_at <= now:
                expected.append(ends_at)
                ends_at = None
        assert timer.ends_at == ends_at
    assert called == expected


def test_requests_set_no_timers() -> None:
    """A thousand requests in 8 s set one timer for an idle time of 75 s; 200 s later the connection has ended."""
    loop, called, timer = make()
    for _ in range(1000):
        timer.start(75)
        loop.advance(1 / 256)
        timer.stop()
        loop.advance(1 / 256)
    assert loop.num_set == 1
    timer.start(75)
    loop.advance(200)
    assert called == [2000 / 256 + 75]
    assert loop.num_set <= 3


def test_close_leaves_no_timer() -> None:
    """After the end of the connection the loop holds nothing of it."""
    loop, called, timer = make()
    timer.start(5)
    timer.stop()
    timer.start(7)
    timer.close()
    assert all(handle.is_cancelled for _, handle, _ in loop.timers)
    loop.advance(100)
    assert called == []
