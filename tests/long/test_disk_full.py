"""A full disk: no acknowledged write is lost, no write is partial, and reads continue."""

import hashlib
import itertools
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.errors import StorageFull
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.long.conftest import Record
from tests.long.small_disk import filled, small_disk
from tests.support.databases import SERVER, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, UPLOAD, predict, running, upload

LARGE = {"p": 256}  # 270 KB per adapter: about twenty fill the disk
TASK = "sst2"

Stored = dict[str, bytes]  # acknowledged files by digest


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk("8m") as folder:
        yield folder


def new_files(**options: object) -> Iterator[bytes]:
    return (make_adapter_bytes(seed=seed, **options) for seed in itertools.count())  # type: ignore[arg-type]


def publish_until_full(registry: Registry, stored: Stored, files: Iterator[bytes]) -> None:
    for data in files:
        try:
            stored[registry.publish(TASK, check_upload(data))[0].digest] = data
        except StorageFull:
            return


def delete(registry: Registry, stored: Stored, number: int) -> None:
    digest = registry.snapshot().tasks[TASK].versions[number].digest
    registry.delete_version(TASK, number)
    del stored[digest]


def check(registry: Registry, stored: Stored) -> None:
    """Check that the registry has exactly the acknowledged files, intact."""
    versions = registry.snapshot().tasks[TASK].versions.values()
    assert {version.digest for version in versions} == stored.keys()
    for digest, data in stored.items():
        assert registry.read_adapter(digest) == data


def check_file(path: Path, stored: Stored) -> None:
    """Check the same with sqlite3, and that no transaction is open."""
    assert not path.with_name(path.name + "-journal").exists()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert {digest for (digest,) in connection.execute("SELECT digest FROM blobs")} == stored.keys()


@pytest.mark.long
@pytest.mark.parametrize("reserve", [True, False], ids=["with-reserve", "without-reserve"])
def test_the_registry_on_a_full_disk(
    disk: Path, reserve: bool, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    """On a full disk reads work, and small changes do with the reserve; freed space can be used again.

    The disk is filled up to the reserve or, without its check, until SQLite fails.
    """
    if not reserve:
        monkeypatch.setattr("service.registry.write.require_room", lambda *_: None)
    path, stored, files = disk / "registry.sqlite3", Stored(), new_files(**LARGE)
    with closing(Registry.open(f"sqlite:///{path}")) as registry:
        publish_until_full(registry, stored, files)
        num_versions = len(stored)
        check(registry, stored)
        check_file(path, stored)
        if reserve:
            registry.set_alias(TASK, "canary", 1)
            registry.revoke_key(registry.create_key("a key", {"predict"})[0].id)

        for number in (2, 3):
            delete(registry, stored, number)
        for data in itertools.islice(files, 2):
            stored[registry.publish(TASK, check_upload(data))[0].digest] = data
        publish_until_full(registry, stored, files)
        check(registry, stored)
        check_file(path, stored)

        with filled(disk):
            with pytest.raises(StorageFull):
                registry.create_key("a key", {"predict"})
            publish_until_full(registry, stored, files)
            check(registry, stored)
        registry.create_key("a key", {"predict"})
        check(registry, stored)
        check_file(path, stored)
    record(versions=num_versions)


@pytest.mark.long
def test_every_amount_of_room(disk: Path, is_long: bool, monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    """With any amount of free space, each write succeeds or is refused completely."""
    monkeypatch.setattr("service.registry.write.require_room", lambda *_: None)
    num_writes = 1000 if is_long else 50
    rng, path, stored, files = random.Random(0), disk / "registry.sqlite3", Stored(), new_files(p=32)
    num_refused = 0
    with closing(Registry.open(f"sqlite:///{path}")) as registry:
        for data in itertools.islice(files, 2):
            stored[registry.publish(TASK, check_upload(data))[0].digest] = data
        for data in itertools.islice(files, num_writes):
            before, audit = registry.snapshot(), registry.audit(3)
            number = min(before.tasks[TASK].versions)
            with filled(disk, leave_bytes=4096 * rng.randrange(40)):
                try:
                    if rng.random() < 0.4:
                        stored[registry.publish(TASK, check_upload(data))[0].digest] = data
                    elif rng.random() < 0.5 and len(stored) > 2:
                        delete(registry, stored, number)
                    else:
                        registry.create_key("a key", {"predict"})
                except StorageFull:
                    num_refused += 1
                    assert (registry.snapshot(), registry.audit(3)) == (before, audit)
                else:
                    assert registry.snapshot().revision == before.revision + 1
                check(registry, stored)
                check_file(path, stored)
    assert num_writes / 10 < num_refused < num_writes
    record(writes=num_writes, refused=num_refused)


@pytest.mark.long
def test_a_server_on_a_full_disk(disk: Path, tiny: LoadedBackbone, record: Record) -> None:
    """A server on a full disk answers uploads with 507 and everything else as usual, and recovers with free space."""
    path, stored, files = disk / "registry.sqlite3", Stored(), new_files(identity=tiny.identity, **LARGE)
    with running(tiny, disk) as client:
        first = upload(client, TASK, next(files))
        stored[first["digest"]] = client.get(adapter_path(1), headers=ADMIN).content

        def upload_until_full() -> None:
            for data in files:
                answer = client.post(f"/admin/v1/tasks/{TASK}/versions", content=data, headers=UPLOAD)
                predict(client, TASK, "a good film")
                if answer.status_code == 507:
                    assert answer.json()["error_type"] == "storage_full"
                    return
                assert answer.status_code == 201
                stored[answer.json()["digest"]] = data

        upload_until_full()
        check_downloads(client, stored)
        check_file(path, stored)
        with filled(disk):
            upload_until_full()
            check_downloads(client, stored)
        upload_until_full()
        num_versions = len(stored)
        for number in (1, 2):
            digest = client.get(f"/admin/v1/tasks/{TASK}/versions/{number}", headers=ADMIN).json()["digest"]
            assert client.delete(f"/admin/v1/tasks/{TASK}/versions/{number}", headers=ADMIN).status_code == 204
            del stored[digest]
        data = next(files)
        stored[upload(client, TASK, data)["digest"]] = data
        assert predict(client, TASK, "a good film")["version"] > num_versions
        check_downloads(client, stored)
    check_file(path, stored)
    record(versions=num_versions)


def adapter_path(number: int) -> str:
    return f"/admin/v1/tasks/{TASK}/versions/{number}/adapter"


def check_downloads(client: TestClient, stored: Stored) -> None:
    """Check that every acknowledged version is listed and downloads as it was uploaded."""
    versions = client.get(f"/admin/v1/tasks/{TASK}", headers=ADMIN).json()["versions"]
    assert {version["digest"] for version in versions} == stored.keys()
    for version in versions:
        data = client.get(adapter_path(version["version"]), headers=ADMIN).content
        assert hashlib.sha256(data).hexdigest() == version["digest"]
        assert data == stored[version["digest"]]


@contextmanager
def on_disk(url: str, disk: Path) -> Iterator[None]:
    """Move the PostgreSQL database at `url` to a tablespace on `disk`; skip if the server is not on this machine."""
    name = url.rpartition("/")[2]
    with psycopg.connect(f"postgresql://postgres@{SERVER}/postgres", autocommit=True) as server:
        try:
            shutil.chown(disk, "postgres", "postgres")
            server.execute(f"CREATE TABLESPACE {name} LOCATION '{disk}'".encode())
        except (LookupError, psycopg.Error) as error:
            pytest.skip(f"PostgreSQL is not on this machine: {error}")
        try:
            server.execute(f"ALTER DATABASE {name} SET TABLESPACE {name}".encode())
            yield
        finally:
            server.execute(f"ALTER DATABASE {name} SET TABLESPACE pg_default".encode())
            server.execute(f"DROP TABLESPACE {name}".encode())


@pytest.mark.long
def test_postgresql_on_a_full_disk(tmp_path: Path, record: Record) -> None:
    """PostgreSQL on a full tablespace raises StorageFull, keeps every acknowledged version, and recovers."""
    stored, files = Stored(), new_files(**LARGE)
    with (
        small_disk("20m") as disk,
        fresh_database("postgresql", tmp_path) as url,
        on_disk(url, disk),
        closing(Registry.open(url)) as registry,
    ):
        for data in itertools.islice(files, 3):
            stored[registry.publish(TASK, check_upload(data))[0].digest] = data
        with filled(disk):
            publish_until_full(registry, stored, files)
            check(registry, stored)
            before = registry.snapshot()
            with pytest.raises(StorageFull):
                registry.publish("other", check_upload(next(files)))
            assert registry.snapshot() == before
        num_when_full = len(stored)
        publish_until_full(registry, stored, files)
        assert len(stored) > num_when_full
        check(registry, stored)
    record(versions=len(stored))
