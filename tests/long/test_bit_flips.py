"""Single flipped bits in the database: no damaged adapter is served; each is reported and can be repaired."""

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
    "shipped": next(iter(shipped_adapters().values())),  # of realistic size
}
CHECKED = {task: check_upload(data) for task, data in FILES.items()}
DIGESTS = {task: hashlib.sha256(data).hexdigest() for task, data in FILES.items()}
NEEDLE_BYTES = 24  # identify a place of a file in the database file
PAGE_BYTES = 4096  # page size of SQLite

Flip = Callable[[Registry, str, random.Random], None]  # flips one bit in the stored file of that task


def flip_by_sql(registry: Registry, task: str, rng: random.Random) -> None:
    data = bytearray(FILES[task])
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    with registry._engine.begin() as connection:
        statement = sqlalchemy.text("UPDATE blobs SET data = :data WHERE digest = :digest")
        connection.execute(statement, {"data": bytes(data), "digest": DIGESTS[task]})


def flip_in_the_file(registry: Registry, task: str, rng: random.Random) -> None:
    registry._engine.dispose()  # an open connection would keep using its cached page
    path, data = Path(str(registry._engine.url.database)), FILES[task]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")  # repairs leave old copies
    content = bytearray(path.read_bytes())
    place = -1
    header_bytes = 8 + int.from_bytes(data[:8], "little")  # most of the header is also in the version's row
    while place < 0:  # a needle that spans two pages is not found
        start = rng.randrange(header_bytes, len(data) - NEEDLE_BYTES)
        place = content.find(data[start : start + NEEDLE_BYTES])
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


@pytest.fixture
def rng() -> random.Random:
    return random.Random(0)


def published(url: str) -> Registry:
    registry = Registry.open(url)
    for task, checked in CHECKED.items():
        registry.publish(task, checked)
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
    """Damage is found on reading, logged once, and shown in audit and snapshot until the file is published again."""
    num_flips = 1000 if is_long else 20
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
            assert registry.publish(task, CHECKED[task])[0].version == 1
            assert [(row.action, row.task) for row in registry.audit(1)] == [("repair_bytes", task)]
            assert registry.read_adapter(DIGESTS[task]) == FILES[task]
            assert not registry.snapshot().resolve(task).quarantined
    record(flips=num_flips)


@pytest.mark.long
def test_flips_anywhere_in_the_file(tmp_path: Path, rng: random.Random, is_long: bool, record: Record) -> None:
    """With any flipped bit in SQLite's file, reads return what was published or fail, and metadata are right or gone.

    Half of the bits are outside of the large adapter.
    """
    num_flips = 1000 if is_long else 20
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
    """Count the files that could be read, and the failures."""
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
