"""Parquet, and what `datasets` keeps in its schema -> Table."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from service.train.data.table import Table
from service.train.errors import DataError, shorten


def read_parquet(name: str, data: bytes) -> Table:
    """Read a Parquet file; class names that `datasets` wrote into it are used.

    Raises DataError where it is none.
    """
    try:
        table = pq.read_table(pa.BufferReader(data))
        rows = _with_plain_numbers(table).to_pylist()
    except (ValueError, OSError, pa.ArrowException) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{name}: not a Parquet file, or it was cut; fetch it again ({line})") from None
    columns = tuple(table.column_names)
    if len(set(columns)) < len(columns):
        repeated = next(column for column in columns if columns.count(column) > 1)
        raise DataError(f"{name}: column {shorten(repeated)} stands there twice; rename one")
    return make_table(name, columns, rows, Features.from_arrow_schema(table.schema))


def _with_plain_numbers(table: pa.Table) -> pa.Table:
    """The table with numbers as a CSV file has them: 1.1 for the float32 1.100000023841858, decimals as texts."""
    for place, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
        elif pa.types.is_float32(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()).cast(pa.float64()))
    return table


def make_table(name: str, columns: tuple[str, ...], rows: list[dict[str, Any]], features: Mapping[str, Any]) -> Table:
    """Rows with the class names of their columns, those of nested fields (`answer.label`) included."""
    classes = dict(_class_names("", features))
    return Table(name, columns, list(enumerate(rows, start=1)), unit="row", class_names=classes)


def _class_names(prefix: str, features: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for column, feature in features.items():
        inner = getattr(feature, "feature", feature)  # a list of classes: its items' feature
        if isinstance(inner, ClassLabel):
            yield prefix + column, tuple(inner.names)
        elif isinstance(inner, Mapping):
            yield from _class_names(f"{prefix}{column}.", inner)
