"""Deadline: who ends a block, and with which error."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from service.api.http.deadline import Deadline
from service.errors import ClientLeft, DeadlineExceeded, Overloaded

LONG_S = 30.0


class Connected:
    """A request of a connection, which calls back when its client leaves."""

    def __init__(self) -> None:
        self.left: Callable[[], None] | None = None

    def watch_client(self, left: Callable[[], None] | None) -> None:
        self.left = left

    async def receive(self) -> Any:
        raise AssertionError("the connection calls back")


async def leave_soon() -> Any:
    """Return the message that ASGI has for a client that leaves."""
    await asyncio.sleep(0.01)
    return {"type": "http.disconnect"}


async def wait_in(deadline: Deadline, begin: Callable[[], None]) -> None:
    """Run a block that calls `begin`, then waits."""
    async with deadline:
        begin()
        await asyncio.sleep(LONG_S)


async def test_a_passed_deadline() -> None:
    """The block is cancelled where it waits."""
    with pytest.raises(DeadlineExceeded, match=r"not answered within 0\.01 s"):
        async with Deadline(0.01):
            await asyncio.sleep(LONG_S)


async def test_a_block_in_time() -> None:
    """It ends with its own result or error, and nothing is left behind."""
    async with (deadline := Deadline(LONG_S)):
        await asyncio.sleep(0)
    deadline.end(Overloaded("late", 1, "queued_requests"))
    with pytest.raises(ValueError, match="its own"):
        async with Deadline(LONG_S):
            raise ValueError("its own")
    await asyncio.sleep(0)


async def test_a_client_that_leaves_is_reported_by_its_connection() -> None:
    """No task waits for it, and the callback is taken back at the end of the block."""
    connected = Connected()
    deadline = Deadline(LONG_S)

    def begin() -> None:
        deadline.watch_client(connected.receive)
        assert connected.left is not None
        assert len(asyncio.all_tasks()) == 1
        asyncio.get_running_loop().call_soon(connected.left)

    with pytest.raises(ClientLeft):
        await wait_in(deadline, begin)
    assert connected.left is None


async def test_a_client_that_leaves_another_server() -> None:
    """Below another ASGI server a task waits for http.disconnect."""
    deadline = Deadline(LONG_S)
    with pytest.raises(ClientLeft):
        await wait_in(deadline, lambda: deadline.watch_client(leave_soon))


async def test_the_first_cause_counts() -> None:
    """A refusal during the block is raised, not what follows it."""
    deadline = Deadline(LONG_S)

    def begin() -> None:
        deadline.end(Overloaded("full", 1, "queued_requests"))
        deadline.end(ClientLeft("too late"))

    with pytest.raises(Overloaded):
        await wait_in(deadline, begin)


async def test_an_end_before_the_block_has_no_effect() -> None:
    """The block runs to its end."""
    deadline, has_run = Deadline(LONG_S), False
    deadline.end(Overloaded("full", 1, "queued_requests"))
    async with deadline:
        await asyncio.sleep(0)
        has_run = True
    assert has_run


async def test_an_end_in_the_last_moment_leaves_the_task_alone() -> None:
    """A block that waits no more keeps its result, and the code after it is not cancelled."""
    async with (deadline := Deadline(LONG_S)):
        deadline.end(Overloaded("full", 1, "queued_requests"))
    await asyncio.sleep(0.01)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancelled_task_is_not_mistaken_for_a_passed_deadline() -> None:
    """A cancellation from outside, such as the end of the server, stays one, even beside the deadline's own."""
    entered = asyncio.Event()

    async def block(deadline: Deadline) -> None:
        async with deadline:
            entered.set()
            await asyncio.sleep(LONG_S)

    for also_ends in (False, True):
        entered.clear()
        deadline = Deadline(LONG_S)
        task = asyncio.create_task(block(deadline))
        await entered.wait()
        if also_ends:
            deadline.end(Overloaded("full", 1, "queued_requests"))
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
