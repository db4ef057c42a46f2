"""Table: the unchecked records of a data file, and access to nested fields such as `text.body` and `texts.0`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.train.errors import DataError, shorten

Record = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """The records of one file, or of one split of a data set."""

    name: str  # without its folder; in messages and in the adapter file
    columns: tuple[str, ...]
    records: list[tuple[int, Record]]  # (1-based line of the file, or row), values by column
    unit: str = "line"  # or "row"
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # names of integer labels, by column
    header_line: int | None = None  # None: the format has no header
    notes: tuple[str, ...] = ()  # guesses about the form of the file, each in one line

    def place(self, number: int) -> str:
        """The place of a record, for messages."""
        return f"{self.name}, {self.unit} {number}"


NUM_LOOKED_AT = 20  # records whose objects are searched for fields


def find_root(table: Table, name: str) -> str | None:
    """The column that may hold the nested field `name`: `text` for `text.body`; None if there is no such column."""
    parts = name.split(".")
    roots = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((root for root in roots if root in table.columns), None)


def read_nested(table: Table, number: int, record: Record, root: str, name: str) -> Any:
    """The value of the nested field `name` in column `root`; None if a part of the path is missing.

    Raises DataError if a part is neither an object nor a list.
    """
    value, path = record.get(root), root
    for part in name[len(root) + 1 :].split("."):
        if value is None:
            return None
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal():
            value = value[int(part)] if int(part) < len(value) else None
        else:
            raise DataError(
                f"{table.place(number)}: {path} is {shorten(value)}, which has no field "
                f"{shorten(part)}; correct the row"
            )
        path = f"{path}.{part}"
    return value


def list_fields(table: Table) -> list[str]:
    """The columns; for a column of objects, its fields instead."""
    names: list[str] = []
    for column in table.columns:
        fields: dict[str, None] = {}
        for _, record in table.records[:NUM_LOOKED_AT]:
            if isinstance(value := record.get(column), dict):
                fields.update(dict.fromkeys(value))
        names += [f"{column}.{field}" for field in fields] or [column]
    return names
