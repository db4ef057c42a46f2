"""Metrics that several processes count together, and some of these processes are killed."""

import asyncio
import os
import random
import threading
import time
from pathlib import Path

import psutil
import pytest

from service.api.http.errors import ERROR_TYPES, STATUS
from service.errors import InvalidInput
from service.observability.metrics import OTHER, Metrics, mark_process_dead
from service.observability.metrics.requests import CODES
from tests.support.shared_metrics import Counting, counted, counting, observe, sum_alone


def test_any_process_shows_the_sum_of_all(tmp_path: Path) -> None:
    """In both formats, before and after processes are killed and replaced."""
    with counting(tmp_path, "engine", "http", "http", "http") as processes:
        for seed, process in enumerate(processes):
            process.begin("observe", seed)
        for process in processes:
            process.wait()
        answering = Metrics(folder=tmp_path)
        expected = sum_alone(range(4))
        assert len(expected) > 600
        assert counted(answering) == counted(answering, openmetrics=True) == expected
        processes[1].begin("show")
        assert processes[1].wait() == expected
        for number in (2, 3):
            processes[number].kill()
            assert counted(answering) == expected
            mark_process_dead(tmp_path, processes[number].pid)
            assert counted(answering) == expected
            processes[number] = Counting(tmp_path)
            processes[number].do("observe", 2 + number)
            expected = sum_alone(range(3 + number))
        assert counted(answering) == counted(answering, openmetrics=True) == expected
        observe(answering, 6)
        processes[1].begin("show")
        assert processes[1].wait() == counted(answering) == sum_alone(range(7))


def test_kills_in_the_middle_of_a_count(tmp_path: Path) -> None:
    """Nothing is lost and nothing counted twice, and no scrape beside it sees less than the one before."""
    folder, counter = tmp_path / "metrics", tmp_path / "counter"
    answering, key = Metrics(folder=folder), ("adakron_request_duration_seconds_count", (("task", "t"),))
    stop, seen = threading.Event(), [0.0]

    def watch() -> None:
        while not stop.is_set():
            seen.append(counted(answering).get(key, 0.0))

    watching = threading.Thread(target=watch)
    watching.start()
    chance, rounds = random.Random(0), 6
    for _ in range(rounds):
        process = Counting(folder)
        process.begin("count", counter, "t")
        size = counter.stat().st_size if counter.exists() else 0
        while not counter.exists() or counter.stat().st_size < size + 1000:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.2))
        process.kill()
        time.sleep(0.1)
        mark_process_dead(folder, process.pid)
    stop.set()
    watching.join()
    total, written = counted(answering)[key], counter.stat().st_size
    assert written <= total <= written + rounds  # it may be killed between the count and the byte
    assert seen == sorted(seen)
    assert len(set(seen)) > rounds
    assert seen[-1] <= total
    assert value(answering, "adakron_http_processes_replaced_total") == rounds
    assert len(list(folder.glob("*.cells"))) == 2  # of this process and of all dead ones


def test_gauges_of_several_processes(tmp_path: Path) -> None:
    """The worst value of the living processes that have set it; 0 if none has."""
    with counting(tmp_path, "engine", "http", "http") as (engine, one, other):
        answering = Metrics(folder=tmp_path)
        assert value(answering, "adakron_registry_revision") == 0
        engine.do("set", {"queue_depth": 7, "registry_revision": 12})
        one.do("set", {"registry_age": 0.5, "registry_revision": 11, "uploads_in_progress": 1, "draining": 0})
        other.do("set", {"registry_age": 3.5, "registry_revision": 10, "uploads_in_progress": 2, "draining": 1})
        names = ("queue_depth", "registry_age_seconds", "registry_revision", "uploads_in_progress", "draining")
        assert [value(answering, f"adakron_{name}") for name in names] == [7, 3.5, 10, 3, 1]
        assert value(answering, "adakron_http_processes") == 3
        other.kill()
        mark_process_dead(tmp_path, other.pid)
        assert [value(answering, f"adakron_{name}") for name in names] == [7, 0.5, 11, 1, 0]
        assert value(answering, "adakron_http_processes") == 2


def test_processes_are_shown_together(tmp_path: Path) -> None:
    """Memory is a sum, the start the earliest; the processor time of a dead process stays."""
    with counting(tmp_path, "engine", "http") as (engine, other):
        other.do("observe", 0, 20_000)
        for process in (engine, other):
            process.do("read")
        alone, answering = Metrics(), Metrics(folder=tmp_path)
        memory = value(answering, "process_resident_memory_bytes")
        pids = (engine.pid, other.pid, os.getpid())
        once = sum(psutil.Process(pid).memory_full_info().pss for pid in pids)
        assert value(answering, "adakron_memory_bytes") == pytest.approx(once, rel=0.1)
        assert once < memory + value(answering, "adakron_engine_process_resident_memory_bytes")
        assert memory > value(alone, "process_resident_memory_bytes") + 1e6
        assert value(answering, "process_start_time_seconds") == value(alone, "process_start_time_seconds")
        assert value(answering, "adakron_engine_process_resident_memory_bytes") > 1e6
        assert value(answering, "adakron_engine_process_start_time_seconds") > value(
            answering, "process_start_time_seconds"
        )
        processor_s = value(answering, "process_cpu_seconds_total")
        assert processor_s > value(alone, "process_cpu_seconds_total") + 0.05
        other.kill()
        mark_process_dead(tmp_path, other.pid)
        assert value(answering, "process_cpu_seconds_total") >= processor_s
        assert value(answering, "process_resident_memory_bytes") < memory


def test_the_limit_of_tasks_holds_over_all_processes(tmp_path: Path) -> None:
    """Exactly, even if they see their first tasks at the same time, and a process is killed in the middle of a name."""
    tasks = [[f"task-{number}" for number in range(first, first + 60)] for first in (0, 30, 60)]
    with counting(tmp_path, "http", "http", "http", max_tasks=100) as processes:
        for process, its in zip(processes, tasks, strict=True):
            process.begin("tasks", its)
        for process in processes:
            process.wait()
        answering = Metrics(100, tmp_path)
        requests = requests_by_task(answering)
        assert len(requests) == 100 + 1
        assert sum(requests.values()) == 180
        assert requests[OTHER] == sum(1 for its in tasks for task in its if task not in requests)
        with (tmp_path / "tasks").open("ab") as file:
            file.write(b"half")
        answering.observe_request("later", 200, 0.1, None)
        assert requests_by_task(answering) == requests | {OTHER: requests[OTHER] + 1}


def test_half_a_name(tmp_path: Path) -> None:
    """The part of a line that a killed process has written does not become a name."""
    one, other = Metrics(folder=tmp_path), Metrics(folder=tmp_path)
    one.observe_request("first", 200, 0.1, None)
    with (tmp_path / "tasks").open("ab") as file:
        file.write(b"hal")
    assert requests_by_task(other) == {"first": 1}
    other.observe_request("second", 200, 0.1, None)
    one.observe_request("third", 200, 0.1, None)
    assert requests_by_task(one) == requests_by_task(other) == {"first": 1, "second": 1, "third": 1}
    assert (tmp_path / "tasks").read_text().split() == [OTHER, "first", "second", "third"]


def test_a_disk_without_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process does not start without room for its numbers; those of a dead one stay in its own file."""
    with counting(tmp_path, "http") as processes:
        processes[0].do("observe", 0)
        processes[0].do("set", {"draining": 1})
        answering, expected = Metrics(folder=tmp_path), sum_alone([0])
        processes[0].kill()
        monkeypatch.setattr(os, "posix_fallocate", no_space)
        with pytest.raises(InvalidInput, match=r"^no room of .* MB for metrics in .*: no space \(TMPDIR moves it\)$"):
            Metrics(folder=tmp_path)
        assert counted(answering) == expected
        with pytest.raises(OSError, match="no space"):
            mark_process_dead(tmp_path, processes[0].pid)
        assert counted(answering) == expected
        assert value(answering, "adakron_draining") == 0
        monkeypatch.undo()
        mark_process_dead(tmp_path, processes[0].pid)
        assert counted(answering) == expected
        assert not list(tmp_path.glob(f"{processes[0].pid}-*"))


@pytest.mark.parametrize("written", [0, 3])
def test_names_on_a_full_disk(written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new task counts as another one while its name cannot be written whole, and by its name afterwards."""
    one, other = Metrics(folder=tmp_path), Metrics(folder=tmp_path)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:written]) if written else no_space())
        one.observe_request("first", 200, 0.1, None)
    other.observe_request("second", 200, 0.1, None)
    one.observe_request("first", 200, 0.1, None)
    assert requests_by_task(one) == requests_by_task(other) == {OTHER: 1, "first": 1, "second": 1}


def no_space(*_: object) -> None:
    raise OSError(28, "no space")


def test_a_process_that_never_counted_is_dead(tmp_path: Path) -> None:
    """It is counted as replaced once another process counts."""
    mark_process_dead(tmp_path, 999_999)
    answering = Metrics(folder=tmp_path)
    mark_process_dead(tmp_path, 999_999)
    assert value(answering, "adakron_http_processes_replaced_total") == 1


async def test_gauges_are_kept_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each second, for scrapes that another process answers; an error of one reading does not end it."""
    monkeypatch.setattr("service.observability.metrics.collectors._REFRESH_S", 0.01)
    metrics, answering = Metrics(folder=tmp_path), Metrics(folder=tmp_path)
    values = iter([1.0, 2.0])
    metrics.watch(metrics.queue_depth, lambda: next(values))
    refreshing = asyncio.create_task(metrics.keep_current())
    await asyncio.sleep(0)
    assert value(answering, "adakron_queue_depth") == 1
    await asyncio.sleep(0.2)
    assert value(answering, "adakron_queue_depth") == 2
    assert not refreshing.done()  # although there is no third value
    refreshing.cancel()


def test_sums_are_exact_in_any_order(tmp_path: Path) -> None:
    """No sum decreases in its last bit when the process ends that has counted a part of it, or another one shows it."""
    chance = random.Random(0)
    with counting(tmp_path, *["http"] * 4) as processes:
        answering = [Metrics(folder=tmp_path) for _ in range(4)]
        durations = [chance.expovariate(1000) for _ in range(400)]
        for number, process in enumerate(processes):
            process.do("durations", durations[number::4])
        expected = counted(answering[0])["adakron_tokenize_duration_seconds_sum", ()]
        assert expected == pytest.approx(sum(durations), abs=400 * 2**-21)
        for process in processes:
            process.kill()
            mark_process_dead(tmp_path, process.pid)
            for metrics in answering:
                assert counted(metrics)["adakron_tokenize_duration_seconds_sum", ()] == expected


def test_there_is_room_for_every_label() -> None:
    """All codes that are known take less than half of the series, and every status has a place."""
    metrics = Metrics()
    metrics.expect_errors(ERROR_TYPES)
    assert len(metrics._series._counts.all()) < 256
    assert {status for status, _ in STATUS.values()} <= set(CODES)


def value(metrics: Metrics, name: str) -> float:
    """The one value of this name."""
    metrics.read_state()
    found = metrics.registry.get_sample_value(name)
    assert found is not None, name
    return found


def requests_by_task(metrics: Metrics) -> dict[str, float]:
    return {
        dict(labels)["task"]: number
        for (name, labels), number in counted(metrics).items()
        if name == "adakron_requests_total"
    }
