"""Checks that a server's answers are its model's: a server that computes nothing, or with a wrong adapter, is fast."""

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.peers.contestant import Asked, Contestant, Running
from benchmarks.peers.processes import ask
from benchmarks.peers.shared.served import LABELS

NUM_TEXTS, NUM_TASKS_EACH = 8, 4
MAX_TRIES, RETRY_S = 20, 0.5
MIN_DIFFERENCE = 0.01  # between the probabilities of two tasks for a text: otherwise a wrong adapter goes unnoticed


class WrongAnswer(Exception):
    """A server's answer is not its model's."""


def ask_patiently(port: int, request: bytes) -> tuple[int, Any]:
    """Return status and answer; a server that refuses because it is overloaded is asked again."""
    for _ in range(MAX_TRIES):
        status, found = ask(port, request)
        if status not in (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE):
            break
        time.sleep(RETRY_S)
    return status, found


def check(contestant: Contestant, running: Running, texts: list[str]) -> float:
    """Return the largest difference from the model's own answers, over some texts, each sent for several tasks at once.

    Raises WrongAnswer if it exceeds the tolerance, or if tasks differ too little to detect a wrong adapter.
    """
    num_tasks = min(contestant.num_tasks, NUM_TASKS_EACH)
    asked: list[Asked] = [
        ((at + 17 * step) % contestant.num_tasks, text)
        for at, text in enumerate(texts[:NUM_TEXTS])
        for step in range(num_tasks)
    ]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda item: ask_patiently(running.port, contestant.request(*item)), asked))
    differences = []
    expected = contestant.direct(asked)
    for (status, found), item, probabilities in zip(answers, asked, expected, strict=True):
        if status != http.client.OK:
            raise WrongAnswer(f"{contestant.name}: {status} {found!r} to {item}")
        label, score = contestant.read(found)
        differences.append(abs(score - probabilities[LABELS.index(label)]))
    first = [expected[at][0] for at in range(0, len(asked), num_tasks)]
    second = [expected[at + num_tasks - 1][0] for at in range(0, len(asked), num_tasks)]
    if num_tasks > 1 and max(abs(a - b) for a, b in zip(first, second, strict=True)) < max(
        MIN_DIFFERENCE, 2 * contestant.tolerance
    ):
        raise WrongAnswer(f"{contestant.name}: its tasks are too alike to tell a wrong one")
    if max(differences) > contestant.tolerance:
        raise WrongAnswer(f"{contestant.name}: {max(differences):.5f} from the model computed alone")
    return max(differences)
