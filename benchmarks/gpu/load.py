"""Load from several processes at once: one Python process cannot make the requests that many front ends answer."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.serving.load import Load, Results, closed_loop, http_request
from benchmarks.serving.server import HOST

MAX_TRIES = 20
LOADERS = 16  # clients of each process while adapters are loaded


def start_loads(
    port: int, requests: Sequence[bytes], clients: int, num_processes: int, seconds: float, warmup_s: float
) -> list[Load]:
    """Start closed loops that share the clients and go through the requests in orders of their own."""
    share = max(1, clients // num_processes)

    def start(number: int) -> Load:
        order = np.random.default_rng(number).permutation(len(requests))
        return closed_loop(HOST, port, requests, share, seconds, warmup_s=warmup_s, order=order)

    with ThreadPoolExecutor(num_processes) as threads:
        return list(threads.map(start, range(num_processes)))


def join(loads: Sequence[Load]) -> Results:
    """Wait for all, and return the requests of the window that their windows share."""
    found = [load.results() for load in loads]
    begin = max(one.begin for one in found)
    end = min(one.begin + one.seconds for one in found)
    arrays = {
        name: np.concatenate([getattr(one, name) for one in found])
        for name in ("index", "start", "sent", "end", "status")
    }
    cpu_s, refusals = sum(one.cpu_s for one in found), [refusal for one in found for refusal in one.refusals]
    return Results(**arrays, begin=begin, seconds=end - begin, cpu_s=cpu_s, refusals=refusals)


def describe_refusals(found: Results) -> str:
    """Count the answers by status, and show the first one that is not 200."""
    counts = ", ".join(f"{number:,} with {status or 'no answer'}" for status, number in found.counts().items())
    first = f"; the first other answer: {found.refusals[0][1][:200].decode(errors='replace')}" if found.refusals else ""
    return f"Requests by status: {counts}{first}."


def load_all(port: int, tasks: Sequence[str], num_processes: int, seconds: float) -> None:
    """Ask for all tasks, `seconds` at a time, until each has answered: its adapter is loaded and the speed is known.

    Raises RuntimeError if a task does not answer.
    """
    missing = list(tasks)
    for _ in range(MAX_TRIES):
        requests = predict_requests(missing, ["a text"], 1)
        found = join(start_loads(port, requests, LOADERS * num_processes, num_processes, seconds, 0.0))
        answered = set(found.of(200).index.tolist())
        missing = [task for place, task in enumerate(missing) if place not in answered]
        if not missing:
            return
    raise RuntimeError(f"{len(missing)} of {len(tasks)} tasks do not answer. {describe_refusals(found)}")


def predict_requests(tasks: Sequence[str], texts: Sequence[str], texts_a_request: int) -> list[bytes]:
    """Make one request for each task: `texts_a_request` texts, one after the other from `texts`."""
    found = []
    for number, task in enumerate(tasks):
        chosen = [texts[(number * texts_a_request + place) % len(texts)] for place in range(texts_a_request)]
        inputs = chosen[0] if texts_a_request == 1 else chosen
        found.append(http_request(f"/v1/{task}/predict", json.dumps({"inputs": inputs}).encode()))
    return found
