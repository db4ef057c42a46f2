"""Requests by task: answers by code, and a histogram of their durations with exemplars.

These are nearly all series of a server with many tasks. The lines of a task are cached until one of its numbers
changes, and a rendering releases the interpreter regularly for the event loop.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from service.observability.metrics.cells import ROUND, Array, Cells
from service.observability.metrics.names import Names

OTHER = "_other"  # the label `task` of requests without a known task, or with one beyond the limit
LATENCY_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
MAX_EXEMPLAR = 128  # characters of name and value that OpenMetrics allows
CODES = (*sorted({*map(int, HTTPStatus), 499}),)  # 499: the client left
_BOUNDS = (*map(str, LATENCY_S), "+Inf")
_SUM = len(_BOUNDS)
_FIRST_CODE = _SUM + 1
_WIDTH = _FIRST_CODE + len(CODES)  # cells of a task: buckets (not cumulative), sum, answers by code
_CELL_OF_CODE = {code: cell for cell, code in enumerate(CODES, _FIRST_CODE)}
_TASKS_AT_ONCE = 32  # rendered before another thread gets the interpreter
PAUSE_S = 0.00005  # in which the event loop gets it

_ANSWERED, _DURATION = "adakron_requests", "adakron_request_duration_seconds"
_ANSWERED_HELP = "Predict requests answered."
_DURATION_HELP = "From a predict request's arrival to its answer."

Label = tuple[str, str]  # name and value


class _Lines:
    """The rendered lines of each task, in one format, and the numbers that they show."""

    def __init__(self) -> None:
        self.numbers: Array = np.zeros((0, _WIDTH))
        self.lines: list[tuple[str, str]] = []  # of the answers and of the durations


class RequestsByTask(Collector):
    """The series of all tasks, over all processes; the exemplars are those of this process.

    `collect` returns prometheus_client's objects; `text` the same series, much faster.
    """

    def __init__(self, cells: Cells, first: int, max_tasks: int, folder: Path | None = None) -> None:
        """Use the cells from `first` on; the tasks after the first `max_tasks` of all processes count as OTHER."""
        self._all, self._own, self._first = cells, cells.own, first
        self._tasks = Names(max_tasks + 1, folder and folder / "tasks")
        self._starts: dict[str | None, int] = {None: self._place(OTHER)}
        self._exemplars: dict[int, tuple[Label, float, float]] = {}  # by cell of a bucket: label, seconds, Unix time
        self._rendered = {False: _Lines(), True: _Lines()}  # by whether they have exemplars
        self._forms: list[str] = []  # of the lines of each task's durations

    @staticmethod
    def num_cells(max_tasks: int) -> int:
        """Return the number of cells for `max_tasks` tasks and OTHER."""
        return (max_tasks + 1) * _WIDTH

    def observe(self, task: str | None, code: int, duration_s: float, exemplar: Label | None) -> None:
        """Count one answer; `exemplar` links its bucket to the request. `task` is None if it is not registered."""
        start = self._starts.get(task)
        if start is None:
            start = self._find(task)
        own = self._own
        own[start + _CELL_OF_CODE[code]] += 1.0
        own[start + _SUM] += (duration_s + ROUND) - ROUND
        bucket = start + bisect_left(LATENCY_S, duration_s)
        if exemplar is not None and len(exemplar[0]) + len(exemplar[1]) <= MAX_EXEMPLAR:
            self._exemplars[bucket] = exemplar, duration_s, time.time()
        own[bucket] += 1.0

    def text(self, openmetrics: bool) -> str:
        """Return both families in Prometheus' text format, or in OpenMetrics with exemplars."""
        lines = self._update(self._rendered[openmetrics], openmetrics)
        name = _ANSWERED if openmetrics else f"{_ANSWERED}_total"
        return "".join(
            [
                f"# HELP {name} {_ANSWERED_HELP}\n# TYPE {name} counter\n",
                *[answered for answered, _ in lines],
                f"# HELP {_DURATION} {_DURATION_HELP}\n# TYPE {_DURATION} histogram\n",
                *[durations for _, durations in lines],
            ]
        )

    def collect(self) -> Iterator[Metric]:
        """Yield both families."""
        answered = CounterMetricFamily(_ANSWERED, _ANSWERED_HELP, labels=("task", "code"))
        durations = HistogramMetricFamily(_DURATION, _DURATION_HELP, labels=("task",))
        tasks, numbers = self._read()
        for row, (task, cells) in enumerate(zip(tasks, numbers, strict=True)):
            for column in np.flatnonzero(cells[_FIRST_CODE:]).tolist():
                answered.add_metric([task, str(CODES[column])], cells[_FIRST_CODE + column])
            found = [self._exemplars.get(bucket) for bucket in range(self._cell(row), self._cell(row) + len(_BOUNDS))]
            exemplars: list[Any] = [one and Exemplar(dict([one[0]]), *one[1:]) for one in found]
            counts = np.cumsum(cells[: len(_BOUNDS)]).tolist()
            if counts[-1]:
                durations.add_metric([task], list(zip(_BOUNDS, counts, exemplars, strict=True)), cells[_SUM])
        yield answered
        yield durations

    def _find(self, task: str | None) -> int:
        """Return the first cell of a task."""
        number = None if task is None else self._tasks.number(task)
        if number is None:
            return self._starts[None]
        start = self._starts[task] = self._cell(number)
        return start

    def _place(self, task: str) -> int:
        number = self._tasks.number(task)
        assert number is not None
        return self._cell(number)

    def _cell(self, row: int) -> int:
        return self._first + row * _WIDTH

    def _read(self) -> tuple[list[str], Array]:
        """Return the tasks and their numbers over all processes, [tasks, _WIDTH]."""
        tasks = self._tasks.all()
        return tasks, self._all.total(self._first, self._cell(len(tasks))).reshape(len(tasks), _WIDTH)

    def _update(self, rendered: _Lines, exemplars: bool) -> list[tuple[str, str]]:
        """Render the tasks whose numbers have changed."""
        tasks, numbers = self._read()
        before, lines = len(rendered.lines), rendered.lines
        changed = [
            *np.flatnonzero((numbers[:before] != rendered.numbers).any(axis=1)).tolist(),
            *range(before, len(tasks)),
        ]
        lines += [("", "")] * (len(tasks) - before)
        self._forms += [_form(task) for task in tasks[len(self._forms) :]]
        block = numbers[changed]
        answered = _answered([tasks[row] for row in changed], block[:, _FIRST_CODE:])
        cumulative = block[:, :_SUM].cumsum(axis=1).astype(np.int64).tolist()
        sums = block[:, _SUM].tolist()
        for index, row in enumerate(changed):
            if index % _TASKS_AT_ONCE == 0:
                time.sleep(PAUSE_S)
            lines[row] = answered[index], self._durations(row, cumulative[index], sums[index], exemplars)
        rendered.numbers = numbers
        return lines

    def _durations(self, row: int, cumulative: list[int], sum_s: float, exemplars: bool) -> str:
        if not cumulative[-1]:
            return ""
        numbers: list[int | str] = [""] * (2 * _SUM)  # and behind each number its exemplar
        numbers[::2] = cumulative
        if exemplars:
            first = self._cell(row)
            for bucket in range(_SUM):
                if (found := self._exemplars.get(first + bucket)) is not None:
                    (name, value), seconds, at = found
                    numbers[2 * bucket + 1] = f' # {{{name}="{value}"}} {seconds} {at:.3f}'
        return self._forms[row] % (*numbers, cumulative[-1], sum_s)


def _answered(tasks: list[str], by_code: Array) -> list[str]:
    """Return the lines of each task's answers; `by_code` has their numbers, [tasks, codes]."""
    lines = [""] * len(tasks)
    rows, columns = np.nonzero(by_code)
    numbers = by_code[rows, columns].astype(np.int64).tolist()
    for row, column, number in zip(rows.tolist(), columns.tolist(), numbers, strict=True):
        lines[row] += f'{_ANSWERED}_total{{code="{CODES[column]}",task="{tasks[row]}"}} {number}.0\n'
    return lines


def _form(task: str) -> str:
    """Return the lines of a task's durations, to be filled with numbers and exemplars."""
    buckets = [f'{_DURATION}_bucket{{le="{bound}",task="{task}"}} %d.0%s\n' for bound in _BOUNDS]
    return "".join([*buckets, f'{_DURATION}_count{{task="{task}"}} %d.0\n{_DURATION}_sum{{task="{task}"}} %r\n'])
