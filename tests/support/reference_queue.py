"""The rules of FairQueue, slow and obvious."""

from collections import defaultdict

from service.core import Request

TASKS = "abcd"
WEIGHTS = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 0.5}


class SlowQueue:
    """FairQueue's rules one after the other: no counter is ever dropped."""

    def __init__(self, turn_tokens: int) -> None:
        self.turn_tokens = turn_tokens
        self.waiting: dict[str, list[tuple[Request, int]]] = {}  # request, inputs taken
        self.counter: dict[str, float] = defaultdict(float)
        self.since: dict[str, int] = {}
        self.level = 0.0
        self.step = 0

    def push(self, request: Request) -> None:
        task = request.task
        if not self.waiting.get(task):
            active = [self.counter[other] for other in TASKS if self.waiting.get(other)]
            self.level = max(self.level, min(active, default=0.0))
            self.counter[task] = max(self.counter[task], self.level)
            self.touch(task)
        self.waiting.setdefault(task, []).append((request, 0))

    def discard(self, request: Request) -> None:
        left = [entry for entry in self.waiting.get(request.task, []) if entry[0] is not request]
        if len(left) < len(self.waiting.get(request.task, [])):
            self.waiting[request.task] = left
            self.left(request.task)

    def take(self, max_tokens: int) -> list[tuple[str, int, int]]:
        parts: list[tuple[str, int, int]] = []
        room = max_tokens
        while active := [task for task in TASKS if self.waiting.get(task)]:
            task = min(active, key=lambda name: (self.counter[name], self.since[name]))
            taken = 0
            while self.waiting[task] and taken < self.turn_tokens:
                request, first = self.waiting[task][0]
                number = 0
                for item in request.encodings[first:]:
                    if taken >= self.turn_tokens or (len(item) > room - taken and (parts or number)):
                        break
                    number, taken = number + 1, taken + len(item)
                if number:
                    parts.append((task, first, number))
                self.waiting[task][0] = (request, first + number)
                if first + number < len(request.encodings):
                    break
                self.waiting[task].pop(0)
            self.counter[task] += taken / WEIGHTS[task]
            room -= taken
            if taken:  # else it keeps its place among equals
                self.touch(task)
            if not self.waiting[task]:
                self.left(task)
            elif not taken:
                break
        return parts

    def left(self, task: str) -> None:
        if not self.waiting[task] and not any(self.waiting.values()):
            self.level = max(self.level, self.counter[task])

    def touch(self, task: str) -> None:
        self.step += 1
        self.since[task] = self.step
