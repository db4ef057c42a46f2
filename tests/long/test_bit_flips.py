"""Single flipped bits in the database: no adapter is ever served with one, each is reported, and can be put right."""

import hashlib
import logging
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from service.errors import AdapterUnavailable, ServiceError
from service.publishing.checks import check_upload
from service.publishing.shipped import shipped_adapters
from service.registry import Registry, Snapshot
from tests.long.conftest import Record
from tests.support.databases import fresh_database
from tests.support.factories import make_adapter_bytes

FILES = {
    "tiny": make_adapter_bytes(seed=1),  # 7 KB: two pages of SQLite
    "tinier": make_adapter_bytes(seed=2, layers=(0,)),
    "shipped": next(iter(shipped_adapters().values())),  # of the size that is in use
}
DIGESTS = {task: hashlib.sha256(data).hexdigest() for task, data in FILES.items()}
NEEDLE_BYTES = 24  # by which a place in a file is found again in SQLite's
PAGE_BYTES = 4096  # of SQLite

Flip = Callable[[Registry, str, random.Random], None]  # one bit of that task's stored file


def flip_by_sql(registry: Registry, task: str, rng: random.Random) -> None:
    data = bytearray(FILES[task])
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    with registry._engine.begin() as connection:
        statement = sqlalchemy.text("UPDATE blobs SET data = :data WHERE digest = :digest")
        connection.execute(statement, {"data": bytes(data), "digest": DIGESTS[task]})


def flip_in_the_file(registry: Registry, task: str, rng: random.Random) -> None:
    registry._engine.dispose()  # an open connection would go on using the page that it has
    path, data = Path(str(registry._engine.url.database)), FILES[task]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")  # repairs leave old copies behind
    content = bytearray(path.read_bytes())
    place = -1
    header_bytes = 8 + int.from_bytes(data[:8], "little")  # much of it is in a row of the version too
    while place < 0:  # a needle across two pages is not found
        start = rng.randrange(header_bytes, len(data) - NEEDLE_BYTES)
        place = content.find(data[start : start + NEEDLE_BYTES])
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


@pytest.fixture
def rng() -> random.Random:
    return random.Random(0)


def published(url: str) -> Registry:
    registry = Registry.open(url)
    for task, data in FILES.items():
        registry.publish(task, check_upload(data))
    return registry


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "flip"),
    [("sqlite", flip_in_the_file), ("sqlite", flip_by_sql), ("postgresql", flip_by_sql)],
    ids=["sqlite-file", "sqlite-sql", "postgresql-sql"],
)
def test_flips_in_stored_adapters(
    kind: str,
    flip: Flip,
    tmp_path: Path,
    rng: random.Random,
    is_long: bool,
    record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each is found when the file is read, logged once, in the audit and in every snapshot, until it is published
    again; the other files are read as they are meanwhile."""
    num_flips = 1000 if is_long else 50
    with fresh_database(kind, tmp_path) as url, closing(published(url)) as registry:
        for _ in range(num_flips):
            task = rng.choice(list(FILES))
            flip(registry, task, rng)
            caplog.clear()
            for _ in range(2):
                with pytest.raises(AdapterUnavailable, match="damaged"):
                    registry.read_adapter(DIGESTS[task])
            assert [entry.levelno for entry in caplog.records] == [logging.ERROR]
            assert [(row.action, row.task) for row in registry.audit(1)] == [("quarantine", task)]
            entries = registry.snapshot().tasks.values()
            assert [entry.name for entry in entries if entry.versions[1].quarantined] == [task]
            for other in FILES.keys() - {task}:
                assert registry.read_adapter(DIGESTS[other]) == FILES[other]
            assert registry.publish(task, check_upload(FILES[task]))[0].version == 1
            assert [(row.action, row.task) for row in registry.audit(1)] == [("repair_bytes", task)]
            assert registry.read_adapter(DIGESTS[task]) == FILES[task]
            assert not registry.snapshot().resolve(task).quarantined
    record(flips=num_flips)


@pytest.mark.long
def test_flips_anywhere_in_the_file(tmp_path: Path, rng: random.Random, is_long: bool, record: Record) -> None:
    """Whatever bit of SQLite's file is flipped, half of the time in what is not the bytes of a large adapter: what is
    read is what was published, or the read fails; what a version says of itself is what it said, or it is gone."""
    num_flips = 1000 if is_long else 50
    path = tmp_path / "registry.sqlite3"
    with closing(published(f"sqlite:///{path}")) as registry:
        truth = registry.snapshot()
    content = path.read_bytes()
    pages = range(0, len(content), PAGE_BYTES)
    structure = [page for page in pages if content[page + 100 : page + 140] not in FILES["shipped"]]
    outcomes = Counter[str]()
    for _ in range(num_flips):
        flipped = bytearray(content)
        page = rng.choice(structure if rng.random() < 0.5 else pages)
        flipped[page + rng.randrange(PAGE_BYTES)] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        outcomes.update(read_everything(f"sqlite:///{path}", truth))
        path.with_name(path.name + "-journal").unlink(missing_ok=True)
    assert outcomes["read"] > outcomes["failed"] > 0
    record(flips=num_flips, **outcomes)


def read_everything(url: str, truth: Snapshot) -> Counter[str]:
    """How many of the files were read, and how many were not."""
    outcomes = Counter[str]()
    try:
        registry = Registry.open(url)
    except ServiceError:
        return Counter(unopened=1)
    with closing(registry):
        for task, digest in DIGESTS.items():
            try:
                assert registry.read_adapter(digest) == FILES[task]
                outcomes["read"] += 1
            except ServiceError:
                outcomes["failed"] += 1
        try:
            tasks = registry.snapshot().tasks
        except ServiceError:
            return outcomes
        for task, entry in tasks.items():
            for version in entry.versions.values():
                assert replace(version, quarantined=False) == truth.tasks[task].versions[version.version]
    return outcomes
