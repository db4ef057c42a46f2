"""Clients that ask all the time, each question a second time where the first got no answer."""

import threading
import time
from collections import Counter
from contextlib import suppress

import httpx

RETRY_AFTER_S = 0.1


class Load:
    """`num_clients` threads, from `with` on to its end."""

    def __init__(self, url: str, task: str, num_clients: int = 4) -> None:
        self.counts: Counter[str] = Counter()  # requests, retried, failed, and how the first tries ended
        self.slowest_s = 0.0
        self._url, self._lock, self._over = f"{url}/v1/{task}/predict", threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(num_clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=10) as client:
            while not self._over.is_set():
                started = time.monotonic()
                outcome = self._outcome(client)
                retried = outcome != "200"
                if retried:
                    time.sleep(RETRY_AFTER_S)
                failed = retried and self._outcome(client) != "200"
                with self._lock:
                    self.counts += Counter({"requests": 1, "retried": retried, "failed": failed})
                    if retried:
                        self.counts[f"first try {outcome}"] += 1
                    self.slowest_s = max(self.slowest_s, time.monotonic() - started)

    def _outcome(self, client: httpx.Client) -> str:
        outcome = "no answer"
        with suppress(httpx.HTTPError):
            outcome = str(client.post(self._url, json={"inputs": "dull, and far too long"}).status_code)
        return outcome
