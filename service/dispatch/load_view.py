"""LoadView: the load of the engine process as an HTTP process knows it: the LoadPage, and its own requests since then.

The page says how many openings (requests for a permit) of each connection its numbers contain. So an HTTP process knows
which of its requests are still on their way, and counts exactly those beside the numbers of the page.

A page is up to 5 ms old, so it is believed only for a second after a refusal by the engine process. Then one request
that the page would refuse is sent as a question: if it is refused, too, the page is believed for another second.
"""

import secrets
import time
from asyncio import AbstractEventLoop
from collections import Counter, deque
from collections.abc import Callable

from service.dispatch.load_page import Load, LoadPage
from service.errors import Overloaded
from service.scheduling.admission import Bounds
from service.scheduling.admission_view import AdmissionView

BELIEVED_S = 1.0  # after a refusal by the engine process, requests are also rejected by what its page shows
_UNSENT = 0  # the number of a question that is not opened yet


class LoadView:
    """Checks requests before they are sent. Owned by the event loop; `weight(task)` is FairQueue's."""

    def __init__(
        self, page: LoadPage, bounds: Bounds, *, weight: Callable[[str], float], loop: AbstractEventLoop
    ) -> None:
        self.connection = secrets.randbits(63)  # names this process's connection in the page
        self._page, self._bounds, self._weight, self._loop = page, bounds, weight, loop
        self._known: tuple[Load, AdmissionView] | None = None  # what the page showed, and its view
        self._sent: deque[str] = deque()  # tasks of the openings that the page does not contain, the oldest first
        self._num_contained = 0  # openings that it contains
        self._question: int | None = None  # number of its opening
        self._question_task = ""
        self._disproved = 0.0  # time of the refusal that it asks about: once answered, only a later one is believed
        self._passed: Counter[str] = Counter()  # requests of each task whose heads passed in this turn of the loop
        self._passed_before: Counter[str] = Counter()  # the same of the turn before; none of them was opened yet

    def check(self, task: str, deadline: float) -> None:
        """Check a request by its head. Raises what Admission.check raises.

        A request that passes counts until it is opened. That happens within two turns of the loop or, if its head has
        another fault or does not name the task, perhaps never.
        """
        self._check(task, deadline)
        if not (self._passed or self._passed_before):
            self._loop.call_soon(self._end_turn)
        self._passed[task] += 1
        self._expect(task)

    def open(self, task: str, deadline: float) -> None:
        """Check a request that is about to be sent, and count it as one on its way. Raises what `check` raises."""
        is_question = self._take_back(task) and self._question == _UNSENT and self._question_task == task
        if not is_question:
            self._check(task, deadline)
        self._sent.append(task)
        if self._question == _UNSENT and self._question_task == task:
            self._question = self._num_contained + len(self._sent)
        self._expect(task)

    def _check(self, task: str, deadline: float) -> None:
        if (view := self._shown()) is None:
            return
        try:
            view.check(task, deadline)
        except Overloaded:
            if self._believes(view.refused_at, task):
                raise

    def _believes(self, refused_at: float, task: str) -> bool:
        """Whether to refuse a request of `task` by the page; if not, it may be the question."""
        age_s = time.monotonic() - refused_at
        if age_s < BELIEVED_S or self._question is not None:
            return True
        if age_s < 2 * BELIEVED_S and refused_at != self._disproved:
            self._question, self._question_task, self._disproved = _UNSENT, task, refused_at
        return False

    def _expect(self, task: str, *, sign: int = 1) -> None:
        if self._known is not None:
            self._known[1].expect(task, sign=sign)

    def _take_back(self, task: str) -> bool:
        """Stop counting a request whose head has passed; return whether there is one of this task."""
        for passed in (self._passed_before, self._passed):
            if passed[task]:
                passed[task] -= 1
                self._expect(task, sign=-1)
                return True
        return False

    def _end_turn(self) -> None:
        for task, number in self._passed_before.items():
            for _ in range(number):
                self._expect(task, sign=-1)
            if number and self._question == _UNSENT and task == self._question_task:
                self._question, self._disproved = None, 0.0
        self._passed_before, self._passed = self._passed, Counter()
        if self._passed_before:
            self._loop.call_soon(self._end_turn)

    def _shown(self) -> AdmissionView | None:
        """Return a view of the numbers of the page and of the requests on their way; None before the first page."""
        load = self._page.read()
        if load is None:
            return None
        if self._known is None or self._known[0] is not load:
            num_contained = load.num_opened.get(self.connection, 0)
            while self._num_contained < num_contained:
                self._sent.popleft()
                self._num_contained += 1
            if self._question is not None and _UNSENT < self._question <= num_contained:
                self._question = None
            on_their_way = [*self._sent, *self._passed_before.elements(), *self._passed.elements()]
            view = AdmissionView(self._bounds, load.admission, weight=self._weight, expected=on_their_way)
            self._known = load, view
        return self._known[1]
