"""HttpSlot: when a process counts as hanging."""

from pathlib import Path

import pytest

from service.server.http_slot import HANG_S, START_S, HttpSlot
from service.server.messages import Begin, Drain
from service.settings import Settings


class Child:
    """A process that does nothing."""

    pid = 7

    def __init__(self) -> None:
        self.is_killed = False

    def send(self, message: Begin | Drain) -> None:
        """Take a message."""

    def kill(self) -> None:
        """End."""
        self.is_killed = True


def slot_with(child: Child, *, asked_at: float | None, seen_at: float | None = None) -> HttpSlot:
    slot = HttpSlot(Settings(), Path("unused"), [])
    slot._child, slot._asked_at, slot._seen_at = child, asked_at, seen_at  # type: ignore[assignment]
    return slot


@pytest.mark.parametrize(
    ("asked_at", "seen_at", "now", "is_killed"),
    [
        (None, None, 1000.0, False),
        (100.0, None, 100.0 + START_S, False),
        (100.0, None, 101.0 + START_S, True),
        (100.0, 110.0, 110.0 + HANG_S, False),
        (100.0, 110.0, 111.0 + HANG_S, True),
        (100.0, 990.0, 1000.0, False),
    ],
    ids=["not asked yet", "starts", "does not listen", "lives", "gives no sign", "listens since long ago"],
)
async def test_a_process_that_hangs_is_killed(
    asked_at: float | None, seen_at: float | None, now: float, is_killed: bool
) -> None:
    """A process is killed that does not listen in time, or gives no sign of life; one that waits to be asked is not."""
    child = Child()
    slot = slot_with(child, asked_at=asked_at, seen_at=seen_at)
    slot.check(now)
    assert child.is_killed == is_killed


async def test_time_in_which_the_supervisor_slept_does_not_count() -> None:
    """After a suspension of the machine no process is killed for the time of the suspension."""
    child = Child()
    slot = slot_with(child, asked_at=100.0)
    slot.forgive(500.0)
    slot.check(500.0 + 100.0 + START_S)
    assert not child.is_killed
