"""Read the label column of the training data: its LabelScheme, the reason for its type, and warnings."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters.config import MAX_LABEL_CHARS, MAX_LABELS, TaskSpec, TaskType
from service.train.data.labels import hints
from service.train.data.labels.items import Row, count_flags, find_separator, items_of, only_item, refuse_amounts
from service.train.data.labels.names import NameForm, class_order, clean_name, describe_spellings, is_label, merge
from service.train.data.labels.numbers import find_format
from service.train.data.labels.scheme import LabelScheme
from service.train.data.labels.task_type import guess_type, separators
from service.train.data.table import Table
from service.train.errors import DataError


@dataclass(frozen=True)
class LabelReading:
    """The scheme of a label column, with the reason and the warnings."""

    scheme: LabelScheme
    because: str  # the reason for the type, in one line that names the option for another type
    warnings: tuple[str, ...] = ()  # each in one line with a remedy


def read_labels(
    table: Table,
    column: str,
    wanted: TaskType | None = None,
    *,
    names: tuple[str, ...] = (),
    merge_spellings: bool = False,
) -> LabelReading:
    """Read the labels of the training data as type `wanted`; by default, as the type that they look like.

    `names` are the names of whole numbers from 0, or of flags, in order. Raises DataError if the labels make no task.
    """
    cells = [(number, record.get(column)) for number, record in table.records]
    values = [value for _, value in cells]
    classes = names or _declared(table, column)
    guess = guess_type(values, column, len(classes))
    task_type, because = wanted or guess.type, "as --type says" if wanted else guess.because
    if task_type == "regression":
        scheme = _read_regression(table, column, cells)
        doubts = hints.describe_repeats(table, column, values) if wanted is None else []
        return LabelReading(scheme, f"{because}{scheme.numbers.describe(values)}", tuple(doubts))
    scheme = LabelScheme(task_type, column, given=names)
    rows: list[Row]
    if task_type == "multi_label":
        separator = find_separator(values)
        rows = [(number, items_of(table, number, value, separator)) for number, value in cells]
        refuse_amounts(table, rows)
        scheme = replace(scheme, separator=separator, flags=_find_flags(table, column, rows, classes))
        if all(len(items) == 1 for _, items in rows):
            because += "; each row has one label: --type single_label learns one class of several"
    else:
        rows = [(number, [only_item(table, number, value)]) for number, value in cells]
    if scheme.flags is not None:
        return LabelReading(replace(scheme, names=classes), f"{scheme.flags} flags of 0 and 1 in each row")
    scheme = replace(scheme, form=NameForm.of(item for _, items in rows for item in items))
    counts = Counter(scheme.name(table, number, item) for number, items in rows for item in items)
    merged = merge(counts) if merge_spellings and not classes else {}
    found = set(merged.values()) if merged else set(counts)
    scheme = replace(scheme, names=classes or tuple(sorted(found, key=class_order)), merged=merged)
    _check_names(table, scheme, found)
    warnings = describe_spellings(table.name, counts, merged)
    if wanted is None:
        warnings += hints.describe_brackets(table, scheme) + hints.describe_objects(table, scheme)
        warnings += hints.describe_numbers(table, scheme, values) + hints.describe_booleans(table, scheme)
        warnings += hints.describe_separators(table, scheme, cells, separators(column))
    warnings += hints.describe_count(table, scheme)
    warnings += hints.describe_missing(table, scheme, counts)
    return LabelReading(scheme, because, tuple(warnings))


def read_scheme(table: Table, column: str, task: TaskSpec) -> LabelScheme:
    """Make the scheme by which a label column is read as labels of an existing task. Raises DataError."""
    cells = [(number, record.get(column)) for number, record in table.records]
    if task.type == "regression":
        return LabelScheme("regression", column, numbers=find_format(table, cells))
    separator = find_separator([value for _, value in cells]) if task.type == "multi_label" else None
    items = (
        [(number, items_of(table, number, value, separator)) for number, value in cells]
        if task.type == "multi_label"
        else [(number, [only_item(table, number, value)]) for number, value in cells]
    )
    form = NameForm.of(item for _, labels in items for item in labels)
    return LabelScheme(task.type, column, names=task.labels, separator=separator, form=form)


def _read_regression(table: Table, column: str, cells: Sequence[tuple[int, Any]]) -> LabelScheme:
    numbers = find_format(table, cells)
    targets = [numbers.read(table, number, value) for number, value in cells]
    if min(targets) == max(targets):
        raise DataError(
            f"{table.name}: every {column} is {targets[0]:g}, so there is nothing to learn; is it the right column "
            "(--label-column)?"
        )
    return LabelScheme("regression", column, numbers=numbers)


def _declared(table: Table, column: str) -> tuple[str, ...]:
    """The class names that come with the data. Raises DataError if two are equal, or one is not a possible name."""
    declared = tuple(clean_name(name) for name in table.class_names.get(column, ()))
    odd = next((name for name in declared if not is_label(name)), None)
    if odd is not None:
        raise DataError(
            f"{table.name}: class name {odd[:40]!r} of column {column} is not 1 to {MAX_LABEL_CHARS} printable "
            "characters; give --label-names"
        )
    twice = next((name for name, count in Counter(declared).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{table.name}: class name {twice[:40]!r} occurs twice in column {column}; give --label-names")
    return declared


def _find_flags(table: Table, column: str, rows: Sequence[Row], classes: tuple[str, ...]) -> int | None:
    count = count_flags(rows)
    if count is None or count == len(classes):
        return count
    named = f"but {len(classes)} names ({', '.join(classes[:5])})" if classes else "and no names for them"
    raise DataError(
        f"{table.name}: each row of column {column} has {count} flags of 0 and 1, {named}; give {count} names in their "
        "order, such as --label-names a,b,c"
    )


def _check_names(table: Table, scheme: LabelScheme, found: set[str]) -> None:
    if len(found) < (2 if scheme.type == "single_label" else 1):
        only = f"only the label {next(iter(found))!r}" if found else "no label at all"
        raise DataError(
            f"{table.name}: {only} in column {scheme.column}; a task needs at least two classes: add rows of another, "
            "or name the right column (--label-column)"
        )
    if len(scheme.names) > MAX_LABELS:
        raise DataError(
            f"{table.name}: {len(scheme.names)} different labels in column {scheme.column}, at most {MAX_LABELS} are "
            "possible; is it the right column (--label-column), or a regression (--type regression)?"
        )
    if scheme.given and (unknown := sorted(found - set(scheme.given), key=class_order)):
        raise DataError(
            f"{table.name}: label {unknown[0][:40]!r} in column {scheme.column} is missing in --label-names; "
            "correct it, or add it there"
        )
