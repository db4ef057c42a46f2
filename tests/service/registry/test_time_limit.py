"""The time that a call of the registry has."""

import math
import threading
import time

import pytest

from service.registry.time_limit import time_left, time_limit

pytestmark = pytest.mark.alone


def test_without_a_limit_there_is_all_the_time() -> None:
    """Outside of any limit, and inside of one that is None."""
    assert time_left() == math.inf
    with time_limit(None):
        assert time_left() == math.inf


def test_the_time_runs_out() -> None:
    """It counts down to 0 and stays there; afterwards there is no limit again."""
    with time_limit(0.05):
        assert 0 < time_left() <= 0.05
        time.sleep(0.06)
        assert time_left() == 0
    assert time_left() == math.inf


def test_a_limit_inside_another_never_gives_more_time() -> None:
    """The one that ends first counts."""
    with time_limit(1):
        with time_limit(60):
            assert time_left() <= 1
        with time_limit(None):
            assert time_left() <= 1
        with time_limit(0.1):
            assert time_left() <= 0.1
        assert time_left() > 0.5


def test_each_thread_has_its_own() -> None:
    """A limit is that of the call that set it."""
    found: list[float] = []
    with time_limit(1):
        thread = threading.Thread(target=lambda: found.append(time_left()))
        thread.start()
        thread.join()
    assert found == [math.inf]
