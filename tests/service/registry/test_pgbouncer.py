"""The registry through PgBouncer in transaction mode: each transaction may run in another session of the server."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy

from service.doctor.registry import registry as doctor_registry
from service.doctor.registry import registry_write
from service.publishing.checks import check_upload
from service.registry import Follower, Registry
from service.registry.backup import export_registry, restore_backup, verified_backup
from tests.support.databases import fresh_database
from tests.support.doctors import make_setup
from tests.support.factories import make_adapter_bytes
from tests.support.pgbouncer import pgbouncer

NUM_WRITERS, NUM_WRITES = 4, 6  # psycopg would prepare a statement at its fifth use


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[str]:
    """An empty database through PgBouncer, with two server sessions for all clients."""
    with fresh_database("postgresql", tmp_path) as direct, pgbouncer(direct, pool_size=2) as url:
        yield url


def write(registry: Registry, writer: int) -> None:
    """Make the writes that a server makes."""
    for number in range(NUM_WRITES):
        version = registry.publish(f"t{writer}", check_upload(make_adapter_bytes(seed=100 * writer + number))).version
        registry.set_weight(f"t{writer}", 1 + number)
        assert registry.snapshot().tasks[f"t{writer}"].versions[version.version].digest == version.digest
        assert registry.read_adapter(version.digest)


def test_concurrent_writers_and_readers(pooled: str) -> None:
    """Repeated statements, which psycopg would prepare, locks and read-only transactions all work."""
    with closing(Registry.open(pooled)) as one, closing(Registry.open(pooled)) as other:
        with ThreadPoolExecutor(NUM_WRITERS) as pool:
            registries = [one, other] * (NUM_WRITERS // 2)
            list(pool.map(write, registries, range(NUM_WRITERS)))
        assert one.revision() == other.revision()
        counts = [len(entry.versions) for entry in other.snapshot().tasks.values()]
        assert counts == [NUM_WRITES] * NUM_WRITERS


async def test_a_follower_polls(pooled: str) -> None:
    """LISTEN has no effect, since the session changes; polling finds every change."""
    with closing(Registry.open(pooled)) as registry, closing(Registry.open(pooled)) as other:
        seen: asyncio.Queue[int] = asyncio.Queue()
        follower = Follower(registry, 0.05, lambda snapshot: seen.put_nowait(snapshot.revision))
        await follower.start()
        for number in range(4):
            await asyncio.to_thread(other.publish, "t", check_upload(make_adapter_bytes(seed=number)))
            async with asyncio.timeout(20):
                while await seen.get() < other.revision():
                    pass
        assert len(follower.snapshot.tasks["t"].versions) == 4
        await follower.stop()


def test_backup_and_restore(pooled: str, tmp_path: Path) -> None:
    """Export and restore work, and hold back no session from the next client."""
    file = tmp_path / "backup.sqlite3"
    with closing(Registry.open(pooled)) as registry:
        for number in range(8):
            registry.publish("t", check_upload(make_adapter_bytes(seed=number)))
        export_registry(pooled, file)
        registry.publish("late", check_upload(make_adapter_bytes(seed=9)))
        with verified_backup(file) as backup:
            restore_backup(pooled, backup, grace_s=0)
        assert list(registry.snapshot().tasks) == ["t"]


def test_doctor(pooled: str, tmp_path: Path) -> None:
    """`adakron doctor` reads the registry through PgBouncer."""
    with closing(Registry.open(pooled)):
        setup = make_setup(tmp_path, registry_url=pooled)
        for _ in range(6):
            assert doctor_registry(setup).status == "ok"
            assert registry_write(setup).status == "ok"


def test_no_session_state_is_left(pooled: str) -> None:
    """Server sessions keep no prepared statement, no lock and no setting."""
    with closing(Registry.open(pooled)) as registry:
        write(registry, 1)
    engine = sqlalchemy.create_engine(pooled, connect_args={"prepare_threshold": None})
    for _ in range(4):
        with engine.begin() as connection:
            assert connection.exec_driver_sql("select count(*) from pg_prepared_statements").scalar() == 0
            assert connection.exec_driver_sql("show statement_timeout").scalar() == "0"
            assert connection.exec_driver_sql("show default_transaction_read_only").scalar() == "off"
            held = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
            assert connection.exec_driver_sql(held).scalar() == 0
    engine.dispose()
