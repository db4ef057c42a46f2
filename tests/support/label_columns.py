"""Label columns for tests: read, encoded with their scheme, and refused in one line."""

from typing import Any

import pytest

from service.train.data.labels import LabelReading, read_labels
from service.train.data.table import Table
from service.train.errors import DataError


def table(labels: list[Any], column: str = "label", **others: Any) -> Table:
    """A file with these labels, the first on line 2."""
    return Table("a.csv", ("text", column), [(i, {column: label}) for i, label in enumerate(labels, start=2)], **others)


def read(labels: list[Any], wanted: Any = None, *, column: str = "label", **options: Any) -> LabelReading:
    """Read a column of labels."""
    return read_labels(table(labels, column), column, wanted, **options)


def targets(reading: LabelReading, labels: list[Any]) -> list[Any]:
    """Targets of other labels of the same column."""
    other = table(labels, reading.scheme.column)
    return [reading.scheme.read(other, number, label) for number, label in enumerate(labels, start=2)]


def complaint(labels: list[Any], wanted: Any = None, **options: Any) -> str:
    """The error that reading gives; always one line."""
    with pytest.raises(DataError) as caught:
        read(labels, wanted, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
