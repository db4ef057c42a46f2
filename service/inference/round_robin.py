"""RoundRobinExecutor: runs the long jobs of many tasks in few threads, one step at a time and each task in turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]


@dataclass(eq=False, slots=True)
class _Job(Generic[T]):
    steps: Steps[T]
    done: asyncio.Future[T]


class RoundRobinExecutor:
    """Runs generators in `num_threads` threads, from one `yield` to the next. Owned by the event loop.

    Whenever a thread is free, the next task gets it for one step of the job that has waited longest in this task. So a
    task with much work delays another task's job by one step for each thread, not by all of its work.
    """

    def __init__(self, num_threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix=name)
        self._num_free = num_threads
        self._waiting: OrderedDict[str, deque[_Job[Any]]] = (
            OrderedDict()
        )  # by task; the first task gets the next free thread

    async def run(self, task: str, steps: Steps[T]) -> T:
        """Return or raise the result of `steps`. If the caller is cancelled, no further step runs."""
        job = _Job(steps, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(task, deque()).append(job)
        self._start()
        result: T = await job.done
        return result

    def close(self) -> None:
        """Wait for the steps that are running and end the threads."""
        self._pool.shutdown()

    def _start(self) -> None:
        while self._num_free and self._waiting:
            task, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[task] = jobs  # behind the other tasks
            if job.done.done():  # the caller was cancelled
                continue
            self._num_free -= 1
            step = asyncio.get_running_loop().run_in_executor(self._pool, _advance, job.steps)
            step.add_done_callback(lambda step, task=task, job=job: self._stepped(task, job, step))  # type: ignore[misc]

    def _stepped(self, task: str, job: _Job[Any], step: asyncio.Future[tuple[bool, Any]]) -> None:
        self._num_free += 1
        if not job.done.done():
            if step.cancelled():
                job.done.cancel()
            elif error := step.exception():
                job.done.set_exception(error)
            elif (result := step.result())[0]:
                job.done.set_result(result[1])
            else:
                self._waiting.setdefault(task, deque()).appendleft(job)
        self._start()


def _advance(steps: Steps[T]) -> tuple[bool, T | None]:
    """Run one step. Returns (finished, result)."""
    try:
        next(steps)
    except StopIteration as end:
        return True, end.value
    return False, None
