"""Requests by task: answers by code, and a histogram of their durations with exemplars.

These are nearly all series of a server with many tasks. The lines of a task are cached until one of its numbers
changes, and a rendering releases the interpreter regularly for the event loop.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

OTHER = "_other"  # the label `task` of requests without a known task, or with one beyond the limit
LATENCY_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
MAX_EXEMPLAR = 128  # characters of name and value that OpenMetrics allows
_BOUNDS = (*map(str, LATENCY_S), "+Inf")
_TASKS_AT_ONCE = 32  # rendered before another thread gets the interpreter
_PAUSE_S = 0.00005

_ANSWERED, _DURATION = "adakron_requests", "adakron_request_duration_seconds"
_ANSWERED_HELP = "Predict requests answered."
_DURATION_HELP = "From a predict request's arrival to its answer."

Label = tuple[str, str]  # name and value


class _OfTask:
    """The series of one task. Changed on the event loop; read by the rendering thread."""

    def __init__(self, task: str) -> None:
        self._task = task
        self._codes: dict[int, int] = {}
        self._counts = [0] * len(_BOUNDS)  # not cumulative
        self._sum_s = 0.0
        self._exemplars: list[tuple[Label, float, float] | None] = [None] * len(_BOUNDS)  # label, seconds, Unix time
        self._starts = [f'{_DURATION}_bucket{{le="{bound}",task="{task}"}} ' for bound in _BOUNDS]
        self._texts: dict[bool, tuple[int, str, str]] = {}  # by whether they have exemplars: total count, lines

    def observe(self, code: int, duration_s: float, exemplar: Label | None) -> None:
        """Count one answer."""
        self._codes[code] = self._codes.get(code, 0) + 1
        bucket = bisect_left(LATENCY_S, duration_s)
        self._sum_s += duration_s
        if exemplar is not None and len(exemplar[0]) + len(exemplar[1]) <= MAX_EXEMPLAR:
            self._exemplars[bucket] = exemplar, duration_s, time.time()
        self._counts[bucket] += 1  # last: cached lines are complete for their count

    def lines(self, exemplars: bool) -> tuple[str, str]:
        """Return the lines of the answers and of the durations."""
        counts = self._counts.copy()
        number = sum(counts)
        known = self._texts.get(exemplars)
        if known is None or known[0] != number:
            known = self._texts[exemplars] = number, self._answered(), self._durations(counts, exemplars)
        return known[1], known[2]

    def families(self, answered: CounterMetricFamily, durations: HistogramMetricFamily) -> None:
        """Add the samples to both families."""
        for code, number in self._codes.copy().items():
            answered.add_metric([self._task, str(code)], number)
        buckets: list[Any] = []
        total = 0
        for bound, count, found in zip(_BOUNDS, self._counts, self._exemplars, strict=True):
            total += count
            buckets.append((bound, total, found and Exemplar(dict([found[0]]), *found[1:])))
        durations.add_metric([self._task], buckets, self._sum_s)

    def _answered(self) -> str:
        codes = self._codes.copy().items()
        return "".join([f'{_ANSWERED}_total{{code="{code}",task="{self._task}"}} {n}.0\n' for code, n in codes])

    def _durations(self, counts: list[int], exemplars: bool) -> str:
        lines, total = [], 0
        for start, count, found in zip(self._starts, counts, self._exemplars, strict=True):
            total += count
            shown = ""
            if exemplars and found is not None:
                (name, value), seconds, at = found
                shown = f' # {{{name}="{value}"}} {seconds} {at:.3f}'
            lines.append(f"{start}{total}.0{shown}\n")
        labels = f'{{task="{self._task}"}}'
        lines.append(f"{_DURATION}_count{labels} {total}.0\n{_DURATION}_sum{labels} {self._sum_s}\n")
        return "".join(lines)


class RequestsByTask(Collector):
    """The series of all tasks. `collect` returns prometheus_client's objects; `text` the same series, much faster."""

    def __init__(self) -> None:
        self._tasks: dict[str, _OfTask] = {}

    def observe(self, task: str, code: int, duration_s: float, exemplar: Label | None) -> None:
        """Count one answer under the label `task`; `exemplar` links its bucket to the request."""
        if (of_task := self._tasks.get(task)) is None:
            of_task = self._tasks[task] = _OfTask(task)
        of_task.observe(code, duration_s, exemplar)

    def text(self, openmetrics: bool) -> str:
        """Return both families in Prometheus' text format, or in OpenMetrics with exemplars."""
        answered, durations = [], []
        for number, of_task in enumerate(list(self._tasks.values())):
            if number % _TASKS_AT_ONCE == 0:
                time.sleep(_PAUSE_S)
            of_answers, of_durations = of_task.lines(openmetrics)
            answered.append(of_answers)
            durations.append(of_durations)
        name = _ANSWERED if openmetrics else f"{_ANSWERED}_total"
        return "".join(
            [
                f"# HELP {name} {_ANSWERED_HELP}\n# TYPE {name} counter\n",
                *answered,
                f"# HELP {_DURATION} {_DURATION_HELP}\n# TYPE {_DURATION} histogram\n",
                *durations,
            ]
        )

    def collect(self) -> Iterator[Metric]:
        """Yield both families."""
        answered = CounterMetricFamily(_ANSWERED, _ANSWERED_HELP, labels=("task", "code"))
        durations = HistogramMetricFamily(_DURATION, _DURATION_HELP, labels=("task",))
        for of_task in list(self._tasks.values()):
            of_task.families(answered, durations)
        yield answered
        yield durations
