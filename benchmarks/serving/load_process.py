"""The process that makes the load: a Plan comes in, the window's begin and the Results go out, pickled."""

import asyncio
import gc
import pickle
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import uvloop

from benchmarks.serving.connections import Pool
from benchmarks.serving.load import MAX_CONNECTIONS, NO_ANSWER, Plan, Results

RETRY_S = 0.05  # before a client whose connection broke tries again
LEAD_S = 0.05  # from all being ready to the begin
ROUND_UP_S = 0.0005  # uvloop rounds to milliseconds; rounded down to none it would turn until the time has come

Row = tuple[int, float, float, float, int]  # index, start, sent, end, status


class Sender:
    """Sends the n-th request, and writes down what came of it."""

    def __init__(self, plan: Plan, pool: Pool) -> None:
        self._requests, self._pool = plan.requests, pool
        self._order = range(len(plan.requests)) if plan.order is None else plan.order.tolist()
        self.rows: list[Row] = []
        self._num_under_way = 0
        self._none_under_way = asyncio.Event()

    def send(self, number: int, start: float, then: Callable[[int], None]) -> None:
        """`then` gets the status after it was written down."""
        index = self._order[number % len(self._order)]
        self._num_under_way += 1
        self._none_under_way.clear()
        sent = time.monotonic()
        self._pool.send(self._requests[index], partial(self._done, index, start, sent, then))

    def _done(self, index: int, start: float, sent: float, then: Callable[[int], None], status: int) -> None:
        self._num_under_way -= 1
        if self._num_under_way == 0:
            self._none_under_way.set()
        self.rows.append((index, start, sent, time.monotonic(), status))
        then(status)

    async def finish(self, patience_s: float) -> None:
        """Wait for every answer; what is missing after `patience_s` gets NO_ANSWER."""
        if self._num_under_way == 0:
            return
        try:
            async with asyncio.timeout(patience_s):
                await self._none_under_way.wait()
        except TimeoutError:
            self._pool.close()
            await self._none_under_way.wait()


async def run_closed(plan: Plan, sender: Sender, begin: float) -> None:
    """Every client sends its next request when its last one is answered."""
    loop, end, number = asyncio.get_running_loop(), begin + plan.seconds, 0

    def send_next(status: int = 200) -> None:
        nonlocal number
        now = time.monotonic()
        if now >= end:
            return
        if status == NO_ANSWER:
            loop.call_later(RETRY_S, send_next)
            return
        number += 1
        sender.send(number - 1, now, send_next)

    for _ in range(plan.clients):
        send_next()
    await asyncio.sleep(end - time.monotonic())


async def run_open(plan: Plan, sender: Sender, begin: float) -> None:
    """Every arrival is sent at its time, or as soon after it as this process gets to it: some 0.5 ms."""
    assert plan.arrivals is not None
    loop, starts, number = asyncio.get_running_loop(), (begin + plan.arrivals).tolist(), 0

    def send_due() -> None:
        nonlocal number
        while number < len(starts) and starts[number] <= time.monotonic():
            sender.send(number, starts[number], lambda _: None)
            number += 1
        if number < len(starts):
            loop.call_later(starts[number] - time.monotonic() + ROUND_UP_S, send_due)

    send_due()
    await asyncio.sleep(begin + plan.seconds - time.monotonic())


async def run(plan: Plan, tell: Callable[[float], None]) -> Results:
    """Run the plan; `tell` gets the begin of the window."""
    pool = Pool(asyncio.get_running_loop(), plan.host, plan.port, max(plan.clients, MAX_CONNECTIONS))
    sender = Sender(plan, pool)
    await pool.open(plan.clients)
    cpu_started_s = time.process_time()
    begin = time.monotonic() + LEAD_S + plan.warmup_s
    tell(begin)
    await asyncio.sleep(LEAD_S)
    await (run_closed if plan.arrivals is None else run_open)(plan, sender, begin)
    cpu_s = time.process_time() - cpu_started_s
    await sender.finish(plan.patience_s)
    columns = list(zip(*sender.rows, strict=True)) or [()] * 5
    index, status = (np.array(columns[place], dtype=np.int64) for place in (0, 4))
    start, sent, end = (np.array(columns[place], dtype=np.float64) for place in (1, 2, 3))
    results = Results(index, start, sent, end, status, begin, plan.seconds, cpu_s, tuple(pool.refusals))
    return results.where(start >= begin)


def main() -> None:
    """Standard input to standard output."""
    plan: Plan = pickle.load(sys.stdin.buffer)
    gc.disable()  # nothing here is cyclic, and a collection would show as latency

    def tell(value: object) -> None:
        pickle.dump(value, sys.stdout.buffer)
        sys.stdout.buffer.flush()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tell(runner.run(run(plan, tell)))


if __name__ == "__main__":
    main()
