"""The deadline of a call to the registry."""

import math
import threading
import time

import pytest

from service.registry.deadline import CALL_TIMEOUT_S, call_deadline, time_left

pytestmark = pytest.mark.alone


def test_no_deadline() -> None:
    """The time is infinite outside of any call, and inside of a call with an infinite deadline."""
    assert time_left() == math.inf
    with call_deadline(math.inf):
        assert time_left() == math.inf


def test_the_default() -> None:
    """A call without a deadline of its own has CALL_TIMEOUT_S."""
    with call_deadline():
        assert 0 < time_left() <= CALL_TIMEOUT_S


def test_the_time_runs_out() -> None:
    """The time counts down to 0 and stays there; afterwards it is infinite again."""
    with call_deadline(0.05):
        assert 0 < time_left() <= 0.05
        time.sleep(0.06)
        assert time_left() == 0
    assert time_left() == math.inf


def test_an_inner_deadline_never_extends_an_outer_one() -> None:
    """The earlier of the two counts."""
    with call_deadline(1):
        with call_deadline(60):
            assert time_left() <= 1
        with call_deadline(math.inf):
            assert time_left() <= 1
        with call_deadline(0.1):
            assert time_left() <= 0.1
        assert time_left() > 0.5


def test_each_thread_has_its_own() -> None:
    """A deadline holds in the thread that set it."""
    found: list[float] = []
    with call_deadline(1):
        thread = threading.Thread(target=lambda: found.append(time_left()))
        thread.start()
        thread.join()
    assert found == [math.inf]
