"""LabelScheme: from the value in a label column to the target of a row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from adapters.config import TaskType
from service.train.data.labels.items import items_of, only_item, read_flags
from service.train.data.labels.names import NameForm, class_index, clean_name, loose_name, name_of
from service.train.data.labels.numbers import NumberFormat
from service.train.data.table import Table
from service.train.errors import DataError

Label = int | float | tuple[int, ...]  # index of the class; the number; indices of the classes


@dataclass(frozen=True)
class LabelScheme:
    """The rules by which labels are read; made from the training data, and used for the validation data, too."""

    type: TaskType
    column: str
    names: tuple[str, ...] = ()  # in the order of the logits; empty for regression
    separator: str | None = None  # between labels in a text; None: labels are lists
    flags: int | None = None  # number of flags of 0 and 1 in each row; None: rows have labels
    given: tuple[str, ...] = ()  # names from --label-names, of the whole numbers from 0, or of flags
    form: NameForm = field(default_factory=NameForm)
    numbers: NumberFormat = field(default_factory=NumberFormat)  # notation of a regression
    merged: Mapping[str, str] = field(default_factory=dict)  # loose form -> name; empty: spellings are not merged

    def read(self, table: Table, number: int, value: Any) -> Label:
        """The target of one row. Raises DataError if it is missing or does not belong to the task."""
        if self.type == "regression":
            return self.numbers.read(table, number, value)
        if self.type == "single_label":
            return self._index(table, number, self.name(table, number, only_item(table, number, value)))
        items = items_of(table, number, value, self.separator)
        if self.flags is not None:
            return read_flags(table, number, items, self.flags)
        return tuple(sorted({self._index(table, number, self.name(table, number, item)) for item in items}))

    def name(self, table: Table, number: int, value: Any) -> str:
        """The name of one label: as written, or the name of its number."""
        classes = self.given or table.class_names.get(self.column, ())
        index = class_index(value, texts=bool(self.given)) if classes else None
        if index is None:
            return name_of(table, number, value, self.form)
        if not 0 <= index < len(classes):  # the Hub's test splits have -1
            remedy = "add it to --label-names" if self.given else "take a split whose labels are public"
            raise DataError(
                f"{table.place(number)}: label {value} is outside of the {len(classes)} classes (0 to "
                f"{len(classes) - 1}); {remedy}"
            )
        return clean_name(classes[index])

    def _index(self, table: Table, number: int, name: str) -> int:
        index = self._indices.get(self.merged.get(loose_name(name), name) if self.merged else name)
        if index is not None:
            return index
        near = next((known for known in self.names if loose_name(known) == loose_name(name)), None)
        if near is not None:
            raise DataError(
                f"{table.place(number)}: label {name[:40]!r} is written {near[:40]!r} in the training data; correct "
                "it, or --merge-spellings merges both"
            )
        if self.given:
            raise DataError(
                f"{table.place(number)}: label {name[:40]!r} is missing in --label-names; correct it, or add it there"
            )
        known = ", ".join(self.names[:5]) + (" ..." if len(self.names) > 5 else "")
        raise DataError(
            f"{table.place(number)}: label {name[:40]!r} never occurs in the training data ({known}); correct it, "
            "or remove the row"
        )

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}
