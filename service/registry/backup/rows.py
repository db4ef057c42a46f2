"""The rows of a restore: which tasks differ from those of a backup, and what is put in their place."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from sqlalchemy import Connection, Table, delete, insert, select, update

from service.registry.models import Alias, AliasHistory, Key, Task, Version

CHUNK = 500  # rows, or names of tasks, of one statement
TABLES = tuple(cast(Table, table.__table__) for table in (Version, Alias, AliasHistory))
KEYS = cast(Table, Key.__table__)

Row = tuple[Any, ...]  # without the number that the database gives
Tasks = Mapping[str, tuple[list[Row], ...]]  # all rows of each task, by its name, in the order of TABLES


def read_tasks(connection: Connection) -> Tasks:
    """Every task that has a version."""
    tasks: dict[str, tuple[list[Row], ...]] = {}
    for index, table in enumerate(TABLES):
        for row in connection.execute(select(*_columns(table)).order_by(*table.primary_key)):
            tasks.setdefault(row.task, tuple([] for _ in TABLES))[index].append(tuple(row))
    for _, aliases, _ in tasks.values():
        aliases.sort()  # each database has its own order of names
    return tasks


def replace_tasks(connection: Connection, old: Tasks, new: Tasks) -> set[str]:
    """Put `new` in the place of `old`, which is what there is; the names of the tasks that differ."""
    differ = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    for names in _chunks(sorted(differ)):
        for table in reversed(TABLES):
            connection.execute(delete(table).where(table.c.task.in_(names)))
    for index, table in enumerate(TABLES):
        keys = [column.name for column in _columns(table)]
        rows = [row for name in sorted(differ & new.keys()) for row in new[name][index]]
        for chunk in _chunks(rows):
            connection.execute(insert(table), [dict(zip(keys, row, strict=True)) for row in chunk])
    return differ


def merge_rows(connection: Connection, backup: Connection) -> set[str]:
    """Every task of the backup gets a row, its weight, and the larger of the two next numbers.

    The names of the tasks whose weight was another.
    """
    query, reweighted = select(Task.name, Task.next_version, Task.weight), set[str]()
    here = {name: (number, weight) for name, number, weight in connection.execute(query)}
    for name, number, weight in backup.execute(query):
        if name not in here:
            connection.execute(insert(Task).values(name=name, next_version=number, weight=weight, revision=0))
        elif number > here[name][0] or weight != here[name][1]:
            values = {"next_version": max(number, here[name][0]), "weight": weight}
            connection.execute(update(Task).where(Task.name == name).values(values))
            reweighted |= {name} if weight != here[name][1] else set()
    return reweighted


def touch(connection: Connection, tasks: Collection[str], revision: int) -> None:
    """Give `tasks` a revision, by which servers see that they must read them again."""
    for names in _chunks(sorted(tasks)):
        connection.execute(update(Task).where(Task.name.in_(names)).values(revision=revision))


def merge_keys(connection: Connection, backup: Connection, revision: int) -> None:
    """Add the keys that are gone. Who is revoked, here or there, stays so."""
    here = {row.id: row.revoked_at for row in connection.execute(select(KEYS))}
    for row in backup.execute(select(KEYS)).mappings():
        if row["id"] not in here:
            connection.execute(insert(KEYS).values(dict(row) | {"revision": revision}))
        elif row["revoked_at"] is not None and here[row["id"]] is None:
            values = {"revoked_at": row["revoked_at"], "revision": revision}
            connection.execute(update(KEYS).where(KEYS.c.id == row["id"]).values(values))


def _columns(table: Table) -> list[Any]:
    return [column for column in table.columns if column.name != "id"]


def _chunks(items: list[Any]) -> Iterator[list[Any]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
