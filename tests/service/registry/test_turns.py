"""Turns: first come, first served."""

import threading
import time

from service.registry.turns import Turns

LONG_S = 30.0


def test_first_come_first_served() -> None:
    """Whoever has waited longest is next, and nobody who comes later gets in between."""
    turns, served = Turns(), list[int]()
    assert turns.take(0)

    def wait(number: int) -> None:
        assert turns.take(LONG_S)
        served.append(number)
        turns.give()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(8)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(turns._waiting) <= number:
            time.sleep(0.001)
    assert not turns.take(0)
    turns.give()
    for thread in threads:
        thread.join()
    assert served == list(range(8))
    assert turns.take(0)


def test_who_gives_it_away_comes_last() -> None:
    """A thread that asks again at once waits for the one that was there before."""
    turns, got = Turns(), threading.Event()
    assert turns.take(0)
    other = threading.Thread(target=lambda: got.set() if turns.take(LONG_S) else None)
    other.start()
    while not turns._waiting:
        time.sleep(0.001)
    turns.give()
    assert not turns.take(0)
    other.join()
    assert got.is_set()


def test_giving_up() -> None:
    """Who has given up is passed over."""
    turns = Turns()
    assert turns.take(0)
    assert not turns.take(0.01)
    turns.give()
    assert turns.take(0)
    turns.give()
