"""For tests of backups: a registry with rows in every table, its content, and changed backup files."""

import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Integer, delete, insert, select

from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.backup import RestoreSummary, export_registry, restore_backup, verified_backup
from service.registry.backup.file import open_file, registry_file, write_checksum
from service.registry.database import create_engine
from service.registry.models import Base, Revision
from tests.support.factories import make_adapter_bytes

Row = tuple[Any, ...]


def fill(url: str) -> None:
    """Fill an empty registry: tasks that share bytes, aliases with a history, deleted entries, two keys, a weight."""
    path = registry_file(url)
    if path is None:
        _copy_rows(url)
    else:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(_filled_file())
        path.chmod(0o600)


@cache
def backup_file() -> bytes:
    """Return the bytes of a backup of a registry that `fill` filled."""
    with tempfile.TemporaryDirectory() as folder:
        url, path = f"sqlite:///{folder}/registry.sqlite3", Path(folder) / "backup.sqlite3"
        fill(url)
        export_registry(url, path)
        return path.read_bytes()


@cache
def _filled_file() -> bytes:
    """Built once: copies of its rows are faster than their transactions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.sqlite3"
        _publish(f"sqlite:///{path}")
        return path.read_bytes()


def _copy_rows(url: str) -> None:
    """Fill a database of PostgreSQL."""
    Registry.open(url).close()
    target = create_engine(url)
    with tempfile.TemporaryDirectory() as folder, target.begin() as connection:
        path = Path(folder) / "registry.sqlite3"
        path.write_bytes(_filled_file())
        connection.execute(delete(Revision))  # that of the migrations
        with open_file(path, read_only=True).connect() as source:
            for table in Base.metadata.sorted_tables:
                if rows := [dict(row._mapping) for row in source.execute(select(table))]:
                    connection.execute(insert(table), rows)
        for name in ("alias_history", "audit"):
            last = f"(SELECT max(id) FROM {name})"
            connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), {last})")
    target.dispose()


def _publish(url: str) -> None:
    with closing(Registry.open(url)) as registry:
        for seed in range(4):
            registry.publish("sst2", check_upload(make_adapter_bytes(seed=seed)), actor="ann", source="10.0.0.1")
        registry.set_alias("sst2", "canary", 2)
        registry.set_alias("sst2", "a-b", 1)
        registry.set_alias("sst2", "ab", 1)
        registry.set_alias("sst2", "gone", 1)
        registry.delete_alias("sst2", "gone")
        registry.rollback("sst2")
        registry.delete_version("sst2", 4)
        registry.publish("mnli", check_upload(make_adapter_bytes(seed=1, labels=("yes", "ja", "sì"))))
        registry.publish("rte", check_upload(make_adapter_bytes(seed=0)), activate=False)
        registry.publish("rte", check_upload(make_adapter_bytes(seed=5)), activate=False)
        registry.publish("gone", check_upload(make_adapter_bytes(seed=9)), activate=False)
        registry.delete_version("gone", 1)
        registry.set_weight("mnli", 2.5)
        registry.create_key("good", ["predict"], ["sst2"])
        registry.revoke_key(registry.create_key("bad", ["admin"])[0].id)


def contents(url: str) -> Mapping[str, list[Row]]:
    """Read the rows of each table except `revision`, without revisions and assigned ids."""
    engine = create_engine(url)
    found = {}
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            numbered = isinstance(table.primary_key.columns[0].type, Integer)
            columns = [c for c in table.columns if c.name != "revision" and not (numbered and c.name == "id")]
            rows = [tuple(row) for row in connection.execute(select(*columns).order_by(*table.primary_key))]
            found[table.name] = rows if numbered else sorted(rows)  # each database sorts names by its own collation
    engine.dispose()
    return {name: rows for name, rows in found.items() if name != "revision"}


def restore_file(path: Path, url: str, *, grace_s: float = 0) -> RestoreSummary:
    """Verify the backup at `path` and restore it."""
    with verified_backup(path) as backup:
        return restore_backup(url, backup, grace_s=grace_s)


def change(path: Path, *statements: str, with_checksum: bool = True) -> Path:
    """Change a copy of a backup; correct its checksum if `with_checksum`."""
    other = path.with_name(f"changed-{path.name}")
    other.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(other)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    if with_checksum:
        write_checksum(other)
    return other
