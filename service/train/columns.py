"""Which columns hold the text, the second text of a pair, and the label."""

from dataclasses import dataclass

from service.train.errors import DataError
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


def find_roles(table: Table, wanted: Columns) -> Roles:
    """The columns to read: those the caller names, the others by their usual names.

    Raises DataError that lists the columns found.
    """
    for option, name in (("text", wanted.text), ("pair", wanted.pair), ("label", wanted.label)):
        if name is not None and name not in table.columns:
            raise DataError(f"{table.name}: no column {name!r} (--{option}-column); it has {_listed(table)}")
    text, pair = (wanted.text, wanted.pair) if wanted.text else _find_texts(table, wanted.pair)
    label = wanted.label or next((name for name in LABELS if name in table.columns), None)
    if label is None:
        raise DataError(
            f"{table.name}: no label column ({', '.join(LABELS)}); it has {_listed(table)}: name it with --label-column"
        )
    return Roles(text, pair, label)


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
        "name it with --text-column, a second text with --pair-column"
    )


def _listed(table: Table) -> str:
    return ", ".join(table.columns) or "none"
