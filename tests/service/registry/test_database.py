"""The registry's database: migrations, files, and the translation of errors."""

import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, inspect

from service.errors import InvalidInput, RegistryUnavailable
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.database import create_engine
from service.registry.models import Base
from tests.support.databases import execute, fresh_database
from tests.support.factories import make_adapter_bytes

pytestmark = pytest.mark.alone


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.sqlite3'}"


def test_the_migrations_make_the_tables_of_the_models(url: str) -> None:
    """The migrations create exactly the tables of models.py."""
    Registry.open(url).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert set(inspect(connection).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    engine.dispose()


def test_opening_again_keeps_everything(url: str) -> None:
    """Migrating a database that is up to date changes nothing."""
    with closing(Registry.open(url)) as registry:
        registry.publish("sst2", check_upload(make_adapter_bytes()))
        snapshot = registry.snapshot()
    with closing(Registry.open(url)) as registry:
        assert registry.snapshot() == snapshot


def test_many_may_start_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If several processes open an empty database, one migrates it and the others wait."""
    monkeypatch.setattr("service.registry.schema._ALEMBIC", nullcontext())  # only the database keeps order
    with ThreadPoolExecutor(4) as threads:
        registries = list(threads.map(lambda _: Registry.open(url), range(4)))
    for registry in registries:
        assert registry.revision() == 0
        registry.close()


def test_a_newer_schema_is_refused(url: str) -> None:
    """A database migrated by a newer release is refused."""
    Registry.open(url).close()
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RegistryUnavailable, match="newer release"):
        Registry.open(url)


def test_the_sqlite_file_is_private(tmp_path: Path) -> None:
    """Folder and file are readable by their owner only."""
    path = tmp_path / "some" / "data" / "registry.sqlite3"
    Registry.open(f"sqlite:///{path}").close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sqlite_is_set_to_be_safe(sqlite_url: str) -> None:
    """SQLite has no write-ahead log, which can corrupt in many releases, and syncs every commit to the disk."""
    engine = create_engine(sqlite_url)
    with engine.connect() as connection:
        found = {
            pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    engine.dispose()
    assert found == {"journal_mode": "delete", "synchronous": 2, "foreign_keys": 1, "secure_delete": 0}


@pytest.mark.parametrize(
    "url", ["", "registry.sqlite3", "sqlite://", "sqlite:///:memory:", "mysql://user:secret@host/x", "://"]
)
def test_urls_that_cannot_be_used(url: str) -> None:
    """Another database, or SQLite in memory, is refused, and the message holds no password."""
    with pytest.raises(InvalidInput, match="registry") as refused:
        Registry.open(url)
    assert "secret" not in str(refused.value)


def test_an_unreachable_server() -> None:
    """If nothing listens, opening fails within the connect timeout."""
    with pytest.raises(RegistryUnavailable, match="cannot be used"):
        Registry.open("postgresql://nobody@127.0.0.1:1/nothing")


def test_parameters_of_the_url_take_precedence() -> None:
    """Parameters of libpq in the URL take precedence."""
    engine = create_engine("postgresql://nobody@127.0.0.1:1/nothing?tcp_user_timeout=9&sslmode=require")
    assert (engine.url.query["tcp_user_timeout"], engine.url.query["sslmode"]) == ("9", "require")
    assert engine.url.query["keepalives_idle"] == "5"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A file of another kind, or a folder that cannot be created, raises RegistryUnavailable."""
    path = tmp_path / "registry.sqlite3"
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(RegistryUnavailable, match="not a database"):
        Registry.open(f"sqlite:///{path}")
    with pytest.raises(RegistryUnavailable, match="cannot be created"):
        Registry.open(f"sqlite:///{path}/below/registry.sqlite3")


def test_missing_tables(url: str) -> None:
    """A database error in any method raises RegistryUnavailable."""
    with closing(Registry.open(url)) as registry:
        execute(url, "DROP TABLE revision")
        for method in (registry.revision, registry.snapshot):
            with pytest.raises(RegistryUnavailable, match="revision"):
                method()
        with pytest.raises(RegistryUnavailable, match="revision"):
            registry.publish("sst2", check_upload(make_adapter_bytes()))


def test_connections_that_the_server_closed_are_replaced(tmp_path: Path) -> None:
    """After a restart of PostgreSQL the next call reconnects."""
    with fresh_database("postgresql", tmp_path) as url, closing(Registry.open(url)) as registry:
        assert registry.revision() == 0
        execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        assert registry.publish("sst2", check_upload(make_adapter_bytes()))[1]


def test_a_snapshot_is_of_one_moment(tmp_path: Path) -> None:
    """A version published while a snapshot is read is only in the next snapshot."""
    with (
        fresh_database("postgresql", tmp_path) as url,  # with SQLite the writer would wait
        closing(Registry.open(url)) as registry,
        closing(Registry.open(url)) as other,
    ):
        other.publish("sst2", check_upload(make_adapter_bytes(seed=1)))
        seeds = [2]

        @event.listens_for(registry._engine, "before_cursor_execute")
        def publish_meanwhile(*call: object) -> None:
            if "FROM versions" in str(call[2]) and seeds:
                other.publish("sst2", check_upload(make_adapter_bytes(seed=seeds.pop())))

        snapshot = registry.snapshot()
        assert (snapshot.revision, list(snapshot.tasks["sst2"].versions)) == (1, [1])
        assert list(registry.snapshot().tasks["sst2"].versions) == [1, 2]


def test_the_second_migration_keeps_all_rows(url: str) -> None:
    """A registry of the first release is migrated, and back, with every row; its versions are intact."""
    with closing(Registry.open(url)) as registry:
        for seed in range(3):
            registry.publish("sst2", check_upload(make_adapter_bytes(seed=seed)))
        registry.set_alias("sst2", "canary", 1)
        snapshot = registry.snapshot()
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", "service.registry:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        assert "keys" not in inspect(connection).get_table_names()
    engine.dispose()
    with closing(Registry.open(url)) as registry:
        assert registry.snapshot() == snapshot
        assert registry.rollback("sst2").version.version == 2
        registry.create_key("a key", {"admin"})
