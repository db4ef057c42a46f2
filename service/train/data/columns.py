"""Find the columns of the text, of the second text of a pair, and of the label."""

from dataclasses import dataclass, replace
from typing import Any

from service.train.data.labels.items import flag_of
from service.train.data.table import Record, Table, find_root, list_fields, read_nested
from service.train.errors import DataError, list_names, shorten
from service.train.options import DataOptions

PAIRS = (
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("text", "text_pair"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
    ("query", "document"),
)
TEXTS = ("sentence", "text", "content", "review", "comment", "utterance", "question", "query", "message")
LABELS = ("label", "labels", "class", "category", "score", "target")
NUM_LOOKED_AT = 1000  # rows that are compared with the header, which may be a row itself
RECOGNISED = frozenset({*(name for pair in PAIRS for name in pair), *TEXTS, *LABELS})


@dataclass(frozen=True)
class Roles:
    """The names of the columns to read; `pair` is None if an input is one text."""

    text: str
    pair: str | None
    label: str
    labels: tuple[str, ...] = ()  # columns of 0 and 1, merged by `merge_labels` into the column `label`
    key: str | None = None  # chooses a gate
    notes: tuple[str, ...] = ()  # each guess in one line

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        texts = (self.text,) if self.pair is None else (self.text, self.pair)
        return (*texts, *(self.labels or (self.label,)), *((self.key,) if self.key else ()))


def find_roles(table: Table, options: DataOptions) -> Roles:
    """Choose the columns to read: those that the options name, the others by their usual names in any case.

    Raises DataError with the columns of the table, or with the columns among which the caller must choose.
    """
    text, pair, label = (
        name and _require(table, name, f"--{option}")
        for option, name in (
            ("text-column", options.text_column),
            ("pair-column", options.pair_column),
            ("label-column", options.label_column),
        )
    )
    labels = tuple(_require(table, name, "--label-columns") for name in options.label_columns)
    key = options.gate and _require(table, options.gate, "--gate")
    notes: list[str] = []
    if text is None:
        text, pair = _find_texts(table, pair, notes)
    if labels:
        return _check_gate(table, Roles(text, pair, ",".join(labels), labels, key, tuple(notes)))
    if label is None:
        label = _recognise(table, LABELS, "--label-column", notes)
    if label is None:
        flags = [
            name for name in table.columns if all(flag_of(record.get(name)) is not None for _, record in table.records)
        ]
        several = f", these with --label-columns {','.join(flags)}" if flags else ""
        raise DataError(
            f"{table.name}: no label column ({', '.join(LABELS)}); it has {list_names(list_fields(table))}: name it "
            f"with --label-column{several}"
        )
    return _check_gate(table, Roles(text, pair, label, key=key, notes=tuple(notes)))


def _check_gate(table: Table, roles: Roles) -> Roles:
    """Return `roles`. Raises DataError if the key is an input or the label, which it would give away."""
    if roles.key and roles.columns.count(roles.key) > 1:
        raise DataError(
            f"{table.name}: --gate {roles.key}: the column is an input or the label of the task; name the column of "
            "the users or languages"
        )
    return roles


def select_columns(table: Table, roles: Roles) -> Table:
    """Add a column with the exact name of each role; its source has the name in another case, or is a nested field.

    The roles may come from another table. Raises DataError if a column is missing.
    """
    missing = [name for name in roles.columns if name not in table.columns]
    if not missing:
        return table
    found = {name: _find(table, name) for name in missing}
    for name, source in found.items():
        if source is None:
            raise DataError(
                f"{table.name}: no column {shorten(name)}, which the training data has; it has "
                f"{list_names(list_fields(table))}; rename its columns as there"
            )
    records = []
    for number, record in table.records:
        values = {
            name: record.get(source) if source in table.columns else _read(table, number, record, source)
            for name, source in found.items()
            if source is not None
        }
        records.append((number, {**record, **values}))
    classes = {
        name: table.class_names[source] for name, source in found.items() if source and source in table.class_names
    }
    return replace(
        table,
        columns=(*table.columns, *missing),
        records=records,
        class_names={**table.class_names, **classes},
    )


def _read(table: Table, number: int, record: Record, name: str) -> Any:
    root = find_root(table, name)
    return read_nested(table, number, record, root, name) if root is not None else None


def merge_labels(table: Table, roles: Roles) -> Table:
    """Merge one column of 0 and 1 per label into the column `roles.label`, which holds lists of labels.

    Raises DataError for another value than 0 or 1.
    """
    if not roles.labels:
        return table
    records = []
    for number, record in table.records:
        flags = [flag_of(record.get(name)) for name in roles.labels]
        if None in flags:
            name = roles.labels[flags.index(None)]
            value = shorten(record.get(name))
            raise DataError(f"{table.place(number)}: {name} is {value}; write 0 or 1 in a column of --label-columns")
        records.append((number, {**record, roles.label: [index for index, flag in enumerate(flags) if flag]}))
    return replace(
        table,
        columns=(*table.columns, roles.label),
        records=records,
        class_names={**table.class_names, roles.label: roles.labels},
    )


def _find(table: Table, name: str) -> str | None:
    """The column of this name in any case, or `name` itself if it is a nested field with values, or None."""
    if name in table.columns:
        return name
    alike = [column for column in table.columns if column.lower() == name.lower()]
    if len(alike) > 1:
        raise DataError(f"{table.name}: columns {list_names(alike)} differ only in case; rename one")
    if alike:
        return alike[0]
    root = find_root(table, name)
    if root is None:
        return None
    found = any(read_nested(table, number, record, root, name) is not None for number, record in table.records)
    return name if found else None


def _require(table: Table, name: str, option: str) -> str:
    found = _find(table, name)
    if found is None:
        raise DataError(f"{table.name}: no column {shorten(name)} ({option}); it has {list_names(list_fields(table))}")
    return found


def _find_texts(table: Table, pair: str | None, notes: list[str]) -> tuple[str, str | None]:
    if pair is None:
        for names in PAIRS:
            found = [_match(table, name, "--text-column and --pair-column") for name in names]
            if found[0] is not None and found[1] is not None:
                return found[0], found[1]
    text = _recognise(table, TEXTS, "--text-column", notes, besides=pair)
    if text is not None:
        return text, pair
    header = ""
    if table.header_line is not None:
        header = f"line {table.header_line} must be a header; "
        if _begins_with_data(table):
            header = f"line {table.header_line} looks like a row, write a header such as text,label above it; "
    raise DataError(
        f"{table.name}: no text column ({', '.join(TEXTS[:4])}, sentence1 + sentence2 ...); it has "
        f"{list_names(list_fields(table))}: {header}name the column with --text-column, a second text's with "
        "--pair-column"
    )


def _recognise(
    table: Table, names: tuple[str, ...], option: str, notes: list[str], besides: str | None = None
) -> str | None:
    """The column with the first of the usual names; adds a note if columns with other usual names exist."""
    found = [match for name in names if (match := _match(table, name, option)) is not None and match != besides]
    if len(found) > 1:
        others = " and ".join(found[1:])
        notes.append(f"{table.name}: column {found[0]} is read, not {others}; {option} names another")
    return found[0] if found else None


def _match(table: Table, name: str, option: str) -> str | None:
    alike = [column for column in table.columns if column.lower() == name]
    if len(alike) > 1:
        raise DataError(f"{table.name}: columns {list_names(alike)} differ only in case; name one with {option}")
    return alike[0] if alike else None


def _begins_with_data(table: Table) -> bool:
    """Whether a name in the header is also a value of its column, or longer than names are."""
    return any(
        len(column) > 60 or any(record.get(column) == column for _, record in table.records[:NUM_LOOKED_AT])
        for column in table.columns
    )
