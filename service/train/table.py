"""Table: the records of a data file as they stand there, before anything is checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """The records of one file, or of one split of a data set."""

    name: str  # as errors and the adapter file name it: no folder
    columns: tuple[str, ...]
    records: list[tuple[int, Record]]  # (1-based line of the file, or row), values by column
    unit: str = "line"  # what those numbers count
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of integer labels, by column
    header_line: int | None = None  # of a file with a header
    notes: tuple[str, ...] = ()  # what was guessed about the file's form, each in one line

    def place(self, number: int) -> str:
        """Where a record stands, for people."""
        return f"{self.name}, {self.unit} {number}"
