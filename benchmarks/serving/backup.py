"""The duration of a backup and a restore, and the longest wait of writes to the registry meanwhile.

A registry of 500 adapters of 0.3 MB, in SQLite and in PostgreSQL (one on 127.0.0.1:5432). Another process publishes one
of two files again every 5 ms, which moves `live`, and polls for changes, as servers do.

    python -m benchmarks.serving.backup

Writes benchmarks/results/backup.json.
"""

import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from adapters import checkpoint
from benchmarks.adapters import SHIPPED
from benchmarks.report import RESULTS
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.backup import export_registry, restore_backup, verified_backup
from tests.support.databases import DATABASES, fresh_database

NUM_ADAPTERS, ROUNDS, PAUSE_S = 500, 3, 0.005


def make_file(number: int) -> bytes:
    """The shipped adapter with another score in its metrics."""
    adapter = checkpoint.parse(SHIPPED.read_bytes())
    metadata = adapter.metadata.model_copy(update={"metrics": {"accuracy": number / 1e6}})
    return checkpoint.serialize(metadata, adapter.tensors, torch.float16)


def write_and_look(url: str, told: Connection) -> None:
    """Write and read in a process of its own until a message comes; answers with the seconds of each write and read."""
    files, waits, looks, number = [make_file(-1), make_file(-2)], [], [], 0
    with closing(Registry.open(url)) as registry:
        told.send("ready")
        while not told.poll():
            number += 1
            started = time.perf_counter()
            registry.publish("writer", check_upload(files[number % 2]))
            waits.append(time.perf_counter() - started)
            started = time.perf_counter()
            registry.snapshot()
            looks.append(time.perf_counter() - started)
            time.sleep(PAUSE_S)
    told.send((waits, looks))


def measure(url: str, act: Callable[[], object]) -> dict[str, float]:
    """Seconds of `act` alone, and beside a writer with what that waited for, in milliseconds."""
    alone, beside, waits, looks = [], [], [], []
    context = multiprocessing.get_context("spawn")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        act()
        alone.append(time.perf_counter() - started)
        here, there = context.Pipe()
        writer = context.Process(target=write_and_look, args=(url, there))
        writer.start()
        here.recv()
        started = time.perf_counter()
        act()
        beside.append(time.perf_counter() - started)
        here.send("enough")
        found = here.recv()
        writer.join()
        waits += found[0]
        looks += found[1]
    return {
        "seconds": round(statistics.median(alone), 2),
        "seconds_beside_a_writer": round(statistics.median(beside), 2),
        "write_p50_ms": round(statistics.median(waits) * 1000, 1),
        "write_max_ms": round(max(waits) * 1000, 1),
        "look_max_ms": round(max(looks) * 1000, 1),
    }


def restore_file(path: Path, url: str) -> None:
    """Restore as `adakron restore` does, without its wait for servers."""
    with verified_backup(path) as backup:
        restore_backup(url, backup, grace_s=0)


def main() -> None:
    """Measure, print, write."""
    result: dict[str, object] = {"date": date.today().isoformat(), "adapters": NUM_ADAPTERS}
    for kind in DATABASES:
        with tempfile.TemporaryDirectory() as name, fresh_database(kind, Path(name)) as url:
            folder = Path(name)
            path, empty = folder / "backup.sqlite3", folder / "empty.sqlite3"
            with closing(Registry.open(url)) as registry:
                export_registry(url, empty)
                for number in range(NUM_ADAPTERS):
                    registry.publish(f"task-{number}", check_upload(make_file(number)))

            def restore_all(url: str = url, path: Path = path, empty: Path = empty) -> None:
                restore_file(empty, url)
                restore_file(path, url)

            result[f"{kind} backup"] = measure(url, lambda url=url, path=path: export_registry(url, path, replace=True))
            result["megabytes"] = round(path.stat().st_size / 1e6)
            result[f"{kind} restore of what is there"] = measure(
                url, lambda url=url, path=path: restore_file(path, url)
            )
            result[f"{kind} restore of nothing, then of everything"] = measure(url, restore_all)
    json.dump(result, sys.stdout, indent=2)
    (RESULTS / "backup.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
