"""FairLock: first come, first served."""

import threading
import time

from service.registry.sqlite import FairLock

LONG_S = 30.0


def test_first_come_first_served() -> None:
    """The thread that has waited longest is next, and no later thread comes in between."""
    lock, served = FairLock(), list[int]()
    assert lock.acquire(0)

    def wait(number: int) -> None:
        assert lock.acquire(LONG_S)
        served.append(number)
        lock.release()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(8)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(lock._waiting) <= number:
            time.sleep(0.001)
    assert not lock.acquire(0)
    lock.release()
    for thread in threads:
        thread.join()
    assert served == list(range(8))
    assert lock.acquire(0)


def test_the_thread_that_releases_comes_last() -> None:
    """A thread that releases the lock and asks again at once waits for the thread that was there before."""
    lock, got = FairLock(), threading.Event()
    assert lock.acquire(0)
    other = threading.Thread(target=lambda: got.set() if lock.acquire(LONG_S) else None)
    other.start()
    while not lock._waiting:
        time.sleep(0.001)
    lock.release()
    assert not lock.acquire(0)
    other.join()
    assert got.is_set()


def test_a_timeout() -> None:
    """A thread whose wait has timed out is passed over."""
    lock = FairLock()
    assert lock.acquire(0)
    assert not lock.acquire(0.01)
    lock.release()
    assert lock.acquire(0)
    lock.release()
