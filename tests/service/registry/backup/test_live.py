"""Exports and restores of a registry while other threads write to it and a server answers from it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from threading import Event, Lock
from typing import Any

import pytest

from adapters.backbone.source import LoadedBackbone
from service.errors import AliasConflict, UnknownTask, UnknownVersion
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.backup import export_registry, verified_backup
from tests.support.backups import contents, fill, restore_file
from tests.support.databases import DATABASES, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.serving import predict, running, upload

pytestmark = pytest.mark.alone

OTHERS_WERE_FIRST = (
    UnknownTask,
    UnknownVersion,
    AliasConflict,
)  # errors that a writer may get; not RegistryUnavailable


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_database(request.param, tmp_path) as url:
        fill(url)
        yield url


class Writers:
    """Four threads that publish, move aliases and delete until `stop`."""

    def __init__(self, url: str) -> None:
        self._registry = Registry.open(url)
        self._stop = Event()
        # SQLite's own lock has no queue: four threads that never pause would starve the others.
        self._turn = Lock() if url.startswith("sqlite") else nullcontext()
        self._threads = ThreadPoolExecutor(4)
        self._running = [self._threads.submit(self._write, f"t{index}", 1000 * index) for index in range(4)]

    def stop(self) -> list[tuple[str, int, str]]:
        """Stop; return task, number and digest of each published version. Raises the error of any thread."""
        self._stop.set()
        try:
            return [version for thread in self._running for version in thread.result()]
        finally:
            self._threads.shutdown()
            self._registry.close()

    def _write(self, own: str, seed: int) -> list[tuple[str, int, str]]:
        published = []
        while not self._stop.is_set():
            seed += 1
            for task in (own, "all"):
                with self._turn:
                    version, created, _ = self._registry.publish(task, check_upload(make_adapter_bytes(seed=seed)))
                if created:
                    published.append((task, version.version, version.digest))
                with self._turn, suppress(*OTHERS_WERE_FIRST):
                    self._registry.rollback(task)
                with self._turn, suppress(*OTHERS_WERE_FIRST):
                    self._registry.delete_version(task, version.version - 1)
        return published


def test_every_backup_of_a_busy_registry_is_consistent(url: str, tmp_path: Path) -> None:
    """While four threads publish, move aliases and delete, each backup passes every check and restores."""
    writers = Writers(url)
    try:
        for index in range(3):
            path = tmp_path / f"{index}.sqlite3"
            assert export_registry(url, path).damaged == ()
            other = f"sqlite:///{tmp_path / f'other-{index}.sqlite3'}"
            assert restore_file(path, other).quarantined == ()
            with closing(Registry.open(other)) as restored:
                for entry in restored.snapshot().tasks.values():
                    assert all(restored.read_adapter(version.digest) for version in entry.versions.values())
                    assert set(entry.aliases.values()) <= entry.versions.keys()
    finally:
        published = writers.stop()
    assert published


def test_restores_while_others_write(url: str, tmp_path: Path) -> None:
    """Writers beside a restore never get RegistryUnavailable, and no version number is used twice."""
    path = tmp_path / "backup.sqlite3"
    export_registry(url, path)
    before = contents(url)
    writers = Writers(url)
    try:
        revisions = [restore_file(path, url).revision for _ in range(4)]
    finally:
        published = writers.stop()
    restore_file(path, url)
    assert revisions == sorted(set(revisions))
    assert len({(task, version) for task, version, _ in published}) == len(published) > 0
    after = contents(url)
    for table in ("versions", "aliases", "alias_history", "blobs"):
        assert after[table] == before[table], table
    export_registry(url, path, replace=True)
    with verified_backup(path) as backup:
        assert len(backup.intact) == 5


def test_a_server_follows_a_restore_without_a_failure(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A running server follows a restore, and answers every prediction meanwhile."""
    url, path = f"sqlite:///{tmp_path / 'registry.sqlite3'}", tmp_path / "backup.sqlite3"
    old, new = (make_adapter_bytes(identity=tiny.identity, seed=seed) for seed in (1, 2))
    with running(tiny, tmp_path) as client, ThreadPoolExecutor(3) as threads:
        first = upload(client, "sst2", old)["digest"]
        export_registry(url, path)
        second = upload(client, "sst2", new)["digest"]
        upload(client, "new", new)
        assert predict(client, "sst2", "a good film")["digest"] == second
        stop = Event()

        def ask() -> list[str]:
            digests = []
            while not stop.is_set():
                digests.append(predict(client, "sst2", "a good film")["digest"])
            return digests

        workers = [threads.submit(ask) for _ in range(2)]
        try:
            restored = threads.submit(restore_file, path, url, grace_s=0.5)
            until(lambda: predict(client, "sst2", "a good film")["digest"] == first)
            restored.result()
        finally:
            stop.set()
        for worker in workers:
            digests = worker.result()
            assert digests == sorted(digests, key=[second, first].index)  # once it has followed, it never goes back
        assert predict(client, "sst2", "a good film")["version"] == 1
        assert client.post("/v1/new/predict", json={"inputs": "a"}).status_code == 404
        assert upload(client, "sst2", new)["version"] == 3


def until(condition: Any, seconds: float = 2) -> None:
    """Wait until `condition` is true, at most `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
