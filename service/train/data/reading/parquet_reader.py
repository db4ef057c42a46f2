"""Read a Parquet file into a Table, with the class names that `datasets` keeps in its schema."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from service.train.data.table import Table
from service.train.errors import DataError, shorten


def read_parquet(name: str, data: bytes) -> Table:
    """Read a Parquet file. Raises DataError if the bytes are not Parquet, or a column occurs twice."""
    try:
        table = pq.read_table(pa.BufferReader(data))
        rows = _with_plain_numbers(table).to_pylist()
    except (ValueError, OSError, pa.ArrowException) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{name}: not a Parquet file, or it was cut; fetch it again ({line})") from None
    columns = tuple(table.column_names)
    if len(set(columns)) < len(columns):
        repeated = next(column for column in columns if columns.count(column) > 1)
        raise DataError(f"{name}: column {shorten(repeated)} occurs twice; rename one")
    return make_table(name, columns, rows, Features.from_arrow_schema(table.schema))


def _with_plain_numbers(table: pa.Table) -> pa.Table:
    """Convert numbers to those of a CSV file: the float32 1.100000023841858 to 1.1, decimals to texts."""
    for place, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
        elif pa.types.is_float32(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()).cast(pa.float64()))
    return table


def make_table(name: str, columns: tuple[str, ...], rows: list[dict[str, Any]], features: Mapping[str, Any]) -> Table:
    """Make a table of rows with the class names of their columns and nested fields (`answer.label`)."""
    classes = dict(_class_names("", features))
    return Table(name, columns, list(enumerate(rows, start=1)), unit="row", class_names=classes)


def _class_names(prefix: str, features: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for column, feature in features.items():
        inner = getattr(feature, "feature", feature)  # a list of classes has the feature of its items
        if isinstance(inner, ClassLabel):
            yield prefix + column, tuple(inner.names)
        elif isinstance(inner, Mapping):
            yield from _class_names(f"{prefix}{column}.", inner)
