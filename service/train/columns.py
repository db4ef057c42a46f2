"""Which columns hold the text, the second text of a pair, and the label."""

from dataclasses import dataclass, replace

from service.train.errors import DataError
from service.train.labels.items import flag_of
from service.train.options import Columns
from service.train.table import Table

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


@dataclass(frozen=True)
class Roles:
    """Names of columns; `pair` is None where an input is one text."""

    text: str
    pair: str | None
    label: str
    labels: tuple[str, ...] = ()  # columns of 0 and 1 that `merge_labels` has put into the column `label`


def find_roles(table: Table, wanted: Columns) -> Roles:
    """The columns to read: those the caller names, the others by their usual names.

    Raises DataError that lists the columns found.
    """
    given = [("text-column", wanted.text), ("pair-column", wanted.pair), ("label-column", wanted.label)]
    for option, name in [*given, *(("label-columns", name) for name in wanted.labels)]:
        if name is not None and name not in table.columns:
            raise DataError(f"{table.name}: no column {name!r} (--{option}); it has {_listed(table)}")
    text, pair = (wanted.text, wanted.pair) if wanted.text else _find_texts(table, wanted.pair)
    if wanted.labels:
        return Roles(text, pair, ",".join(wanted.labels), wanted.labels)
    label = wanted.label or next((name for name in LABELS if name in table.columns), None)
    if label is None:
        flags = [
            name for name in table.columns if all(flag_of(record.get(name)) is not None for _, record in table.records)
        ]
        several = f", these with --label-columns {','.join(flags)}" if flags else ""
        raise DataError(
            f"{table.name}: no label column ({', '.join(LABELS)}); it has {_listed(table)}: name it with "
            f"--label-column{several}"
        )
    return Roles(text, pair, label)


def merge_labels(table: Table, roles: Roles) -> Table:
    """One column of 0 and 1 per label -> the table with lists of labels in column `roles.label`.

    Raises DataError for a field that is neither.
    """
    if not roles.labels:
        return table
    records = []
    for number, record in table.records:
        flags = [flag_of(record.get(name)) for name in roles.labels]
        if None in flags:
            name = roles.labels[flags.index(None)]
            value = str(record.get(name))[:40]
            raise DataError(f"{table.place(number)}: {name} is {value!r}; write 0 or 1 in a column of --label-columns")
        records.append((number, {**record, roles.label: [index for index, flag in enumerate(flags) if flag]}))
    return replace(
        table,
        columns=(*table.columns, roles.label),
        records=records,
        class_names={**table.class_names, roles.label: roles.labels},
    )


def _find_texts(table: Table, pair: str | None) -> tuple[str, str | None]:
    if pair is None:
        for first, second in PAIRS:
            if first in table.columns and second in table.columns:
                return first, second
    for name in TEXTS:
        if name in table.columns and name != pair:
            return name, pair
    raise DataError(
        f"{table.name}: no text column ({', '.join(TEXTS[:4])}, sentence1 + sentence2 ...); it has {_listed(table)}: "
        "the first line must be a header; name the column with --text-column, a second text's with --pair-column"
    )


def _listed(table: Table) -> str:
    return ", ".join(table.columns) or "none"
