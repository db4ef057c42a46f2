"""The rules of FairQueue, slow and obvious."""

from collections import defaultdict

from service.core import Request

TASKS = "abcd"
WEIGHTS = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 0.5}


class SlowQueue:
    """FairQueue's rules one after the other: no counter is ever dropped. A turn counts at least `least_charge`."""

    def __init__(self, turn_tokens: int, least_charge: int | None = None) -> None:
        self.turn_tokens = turn_tokens
        self.least_charge = turn_tokens if least_charge is None else least_charge
        self.in_turn: dict[str, int] = defaultdict(int)  # of a turn that the next batch continues
        self.waiting: dict[str, list[tuple[Request, int]]] = {}  # request, inputs taken
        self.counter: dict[str, float] = defaultdict(float)
        self.since: dict[str, int] = {}
        self.level = 0.0
        self.step = 0

    def push(self, request: Request) -> None:
        task = request.task
        if not self.waiting.get(task):
            active = [self.counter[other] for other, entries in self.waiting.items() if entries]
            self.level = max(self.level, min(active, default=0.0))
            self.counter[task] = max(self.counter[task], self.level)
            self.touch(task)
        self.waiting.setdefault(task, []).append((request, 0))

    def discard(self, request: Request) -> None:
        left = [entry for entry in self.waiting.get(request.task, []) if entry[0] is not request]
        if len(left) < len(self.waiting.get(request.task, [])):
            self.waiting[request.task] = left
            self.left(request.task)

    def take(
        self, max_tokens: int, again_tokens: int | None = None, turn_tokens: int | None = None
    ) -> list[tuple[str, int, int]]:
        if turn_tokens is not None:
            self.turn_tokens = self.least_charge = turn_tokens
        again_tokens = max_tokens if again_tokens is None else again_tokens
        parts: list[tuple[str, int, int]] = []
        room, left_behind = max_tokens, list[str]()
        while active := [task for task, entries in self.waiting.items() if entries and task not in left_behind]:
            task = min(active, key=lambda name: (self.counter[name], self.since[name]))
            if any(self.counter[task] > self.counter[other] for other in left_behind):
                break
            is_second = any(task == name for name, _, _ in parts)
            full, room = room, min(room, again_tokens - (max_tokens - room)) if is_second else room
            taken, most = 0, self.turn_tokens - self.in_turn[task]
            while self.waiting[task] and taken < most:
                request, first = self.waiting[task][0]
                number = 0
                for item in request.encodings[first:]:
                    if taken >= most or (len(item) > room - taken and (parts or number)):
                        break
                    number, taken = number + 1, taken + len(item)
                if number:
                    parts.append((task, first, number))
                self.waiting[task][0] = (request, first + number)
                if first + number < len(request.encodings):
                    break
                self.waiting[task].pop(0)
            self.in_turn[task] += taken
            is_limited, room = room < full, full - taken
            if not self.waiting[task]:
                self.left(task)
            elif self.in_turn[task] >= self.turn_tokens:
                self.charge(task)
                self.touch(task)
            elif is_limited:
                left_behind.append(task)
            else:  # full: the task keeps its place, and the next batch continues its turn
                break
        return parts

    def left(self, task: str) -> None:
        if self.waiting[task]:
            return
        self.charge(task)
        if not any(self.waiting.values()):
            self.level = max(self.level, self.counter[task])

    def charge(self, task: str) -> None:
        if self.in_turn[task]:
            self.counter[task] += max(self.in_turn[task], self.least_charge) / WEIGHTS.get(task, 1.0)
            self.in_turn[task] = 0

    def touch(self, task: str) -> None:
        self.step += 1
        self.since[task] = self.step
