"""FairQueue: serves the least served task first, and the requests of a task in the order of their arrival.

Virtual token counters (Sheng et al. 2024, arXiv 2401.00588): each task has a counter of the tokens that it was served,
divided by its weight. A turn counts at least `turn_tokens`, even if the task had fewer tokens to compute. So the
counters of tasks with little to compute do not drift apart by the lengths of their texts: such tasks are served in the
order of their arrival. Uses no clock and no event loop.
"""

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.backbone.text_encoder import Encoding
from service.core import TURN_TOKENS, Part, Request

_RECENT_TOKENS = 16_384  # served since a task with a short queue was: until then it may come back at any time
_MAX_REMEMBERED = 1024  # counters of idle tasks, before those that have no effect any more are dropped


@dataclass(slots=True)
class _TaskQueue:
    served: float  # tokens / weight
    turn: int = 0  # number of its heap entry; of equal counters the task that was served longest ago goes first
    in_turn: int = 0  # tokens of a turn that the next batch continues; not charged yet
    num_tokens: int = 0  # of its requests
    requests: OrderedDict[Request, None] = field(default_factory=OrderedDict)


class FairQueue:
    """Queued requests by task. A task gets `weight(task)` times the share of a task of weight 1."""

    def __init__(self, weight: Callable[[str], float], turn_tokens: int = TURN_TOKENS) -> None:
        self._weight, self._whole_turn = weight, turn_tokens
        self._turn_tokens = turn_tokens  # of the latest `take`
        self._queues: dict[str, _TaskQueue] = {}  # of tasks with queued requests
        self._heap: list[tuple[float, int, str]] = []  # (served, turn, task); outdated entries stay until popped
        self._turns = itertools.count(1)
        self._left: dict[str, float] = {}  # counters of idle tasks that may be above the level
        self._level = 0.0  # the least counter among tasks with queued requests, or the last one's
        self.num_tokens = 0
        self._num_served = 0  # tokens
        self._last_light: str | None = None  # the last served task that had no more queued than a batch holds
        self._light_until = 0  # `_num_served` up to which it counts as competing

    def is_contended(self, max_tokens: int) -> bool:
        """Whether a task has a backlog while others without one wait or were served lately.

        A backlog is more than `max_tokens`, or more than half of that, than a turn and than all others have together.
        """
        backlog = self._backlog_tokens(max_tokens)
        if self.num_tokens <= backlog:
            return False
        long = {task for task, queue in self._queues.items() if queue.num_tokens > backlog}
        is_recent = self._num_served < self._light_until and self._last_light not in long
        return bool(long) and (is_recent or len(long) < len(self._queues))

    def light_tokens(self, max_tokens: int) -> int:
        """Return the tokens queued by tasks that have no backlog, as `is_contended` defines it."""
        backlog = self._backlog_tokens(max_tokens)
        return sum(queue.num_tokens for queue in self._queues.values() if queue.num_tokens <= backlog)

    def _backlog_tokens(self, max_tokens: int) -> int:
        return min(max_tokens, max(max_tokens // 2, self._whole_turn, self.num_tokens // 2))

    def __len__(self) -> int:
        return sum(len(queue.requests) for queue in list(self._queues.values()))

    def push(self, request: Request) -> None:
        """Append the request to its task's queue.

        Idle time earns no credit: a task that becomes active again starts at the lowest counter among the waiting
        tasks, or at its own counter if that is higher.
        """
        queue = self._queues.get(request.task)
        if queue is None:
            self._raise_level()
            queue = _TaskQueue(max(self._left.pop(request.task, 0.0), self._level))
            self._queues[request.task] = queue
            self._enter(request.task, queue)
        queue.requests[request] = None
        queue.num_tokens += request.num_tokens_left
        self.num_tokens += request.num_tokens_left

    def discard(self, request: Request) -> None:
        """Remove the rest of a request, if any of it is queued."""
        queue = self._queues.get(request.task)
        if queue is not None and request in queue.requests:
            del queue.requests[request]
            queue.num_tokens -= request.num_tokens_left
            self.num_tokens -= request.num_tokens_left
            if not queue.requests:
                self._remove(request.task, queue)
                self._raise_level()

    def refund(self, task: str, num_tokens: int) -> None:
        """Give back the charge for tokens that were taken and will not be computed."""
        queue = self._queues.get(task)
        if queue is not None:
            of_turn = min(num_tokens, queue.in_turn)
            queue.in_turn -= of_turn
            queue.served -= (num_tokens - of_turn) / self._weight(task)
            self._enter(task, queue)
        elif task in self._left:
            self._left[task] -= num_tokens / self._weight(task)

    def take(
        self,
        max_tokens: int,
        unwanted: Callable[[Request], bool],
        *,
        again_tokens: int | None = None,
        turn_tokens: int | None = None,
    ) -> list[Part]:
        """Take the next inputs, of at most `max_tokens` tokens together, or one longer input; drop `unwanted` requests.

        In turns: the task with the least counter gives inputs of about `turn_tokens` tokens, and is charged for them.
        A turn that the batch has no room for is continued in the next one. Beyond `again_tokens` (default: max_tokens)
        the batch takes no second turn of a task, but first turns of tasks that were served no more. `turn_tokens` are
        those of a turn from now on (default: as the queue was made).
        """
        self._turn_tokens = turn_tokens or self._whole_turn
        parts: list[Part] = []
        room = max_tokens
        room_again = max_tokens if again_tokens is None else again_tokens
        served: set[str] = set()
        aside: list[tuple[float, int, str]] = []  # heap entries of tasks that wait for another batch
        while (task := self._least_served()) is not None:
            queue = self._queues[task]
            if aside and queue.served > aside[0][0]:
                break  # it was served more than a task that this batch leaves behind
            most = min(room, room_again) if task in served else room
            taken = self._take_turn(queue, most, parts, unwanted) if most > 0 else 0
            if taken:
                served.add(task)
                self._count(task, queue.num_tokens + taken <= max_tokens, taken)
            queue.in_turn += taken
            room -= taken
            room_again -= taken
            if not queue.requests:
                self._remove(task, queue)
            elif queue.in_turn >= self._turn_tokens:
                self._end_turn(task, queue)
                self._enter(task, queue)
            elif most < room + taken:
                aside.append(heapq.heappop(self._heap))
            else:
                break  # the next input does not fit: the batch is full
        for entry in aside:
            heapq.heappush(self._heap, entry)
        self._raise_level()
        return parts

    def oldest_queued_at(self) -> float | None:
        """Return when the longest waiting request was queued; None if the queue is empty."""
        return min((next(iter(queue.requests)).queued_at for queue in self._queues.values()), default=None)

    def _take_turn(self, queue: _TaskQueue, room: int, parts: list[Part], unwanted: Callable[[Request], bool]) -> int:
        taken, most = 0, self._turn_tokens - queue.in_turn
        while queue.requests and taken < most:
            request = next(iter(queue.requests))
            if unwanted(request):
                self.num_tokens -= request.num_tokens_left
                queue.num_tokens -= request.num_tokens_left
                del queue.requests[request]
                continue
            first, chosen, num_tokens = request.num_taken, list[Encoding](), 0
            for encoding in itertools.islice(request.encodings, first, None):
                fits = taken + num_tokens + len(encoding) <= room or not (parts or chosen)
                if not fits or taken + num_tokens >= most:
                    break
                chosen.append(encoding)
                num_tokens += len(encoding)
            if chosen:
                parts.append(Part(request, first, chosen))
                request.take(len(chosen), num_tokens)
                self.num_tokens -= num_tokens
                queue.num_tokens -= num_tokens
                taken += num_tokens
            if request.num_taken < len(request.encodings):
                break
            del queue.requests[request]
        return taken

    def _count(self, task: str, is_light: bool, taken: int) -> None:
        self._num_served += taken
        if is_light:
            self._last_light, self._light_until = task, self._num_served + _RECENT_TOKENS

    def _enter(self, task: str, queue: _TaskQueue) -> None:
        if len(self._heap) > 2 * len(self._queues) + _MAX_REMEMBERED:
            self._heap = [(other.served, other.turn, name) for name, other in self._queues.items()]
            heapq.heapify(self._heap)
        queue.turn = next(self._turns)
        heapq.heappush(self._heap, (queue.served, queue.turn, task))

    def _end_turn(self, task: str, queue: _TaskQueue) -> None:
        if queue.in_turn:
            queue.served += max(queue.in_turn, self._turn_tokens) / self._weight(task)
            queue.in_turn = 0

    def _remove(self, task: str, queue: _TaskQueue) -> None:
        """Forget the queue of a task without requests; `_raise_level` must follow."""
        self._end_turn(task, queue)
        del self._queues[task]
        self._left[task] = queue.served
        if not self._queues:
            self._heap.clear()
            self._level = max(self._level, queue.served)
        if len(self._left) > _MAX_REMEMBERED:
            self._left = {name: served for name, served in self._left.items() if served > self._level}

    def _least_served(self) -> str | None:
        while self._heap:
            _, turn, task = self._heap[0]
            queue = self._queues.get(task)
            if queue is not None and queue.turn == turn:
                return task
            heapq.heappop(self._heap)
        return None

    def _raise_level(self) -> None:
        if (task := self._least_served()) is not None:
            self._level = max(self._level, self._queues[task].served)
