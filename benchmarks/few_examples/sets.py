"""Three data sets: SST-2, a made one of four classes and a made one of 30 intents; and draws of few rows from them."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.few_examples.phrases import CLOSERS, INTENTS, OPENERS, SLOTS, TICKETS
from benchmarks.sentences import split_rows

MADE_ROWS, MADE_TESTS = 4000, 600  # of a made set
PER_CLASS = (8, 16, 64)
ROWS = (500, 2000)


@dataclass(frozen=True)
class Row:
    """A text with its class."""

    text: str
    label: str


@dataclass(frozen=True)
class DataSet:
    """Rows to draw trainings from, and rows that score all of them."""

    name: str
    origin: str  # for the table: a made set says so
    pool: tuple[Row, ...]
    test: tuple[Row, ...]


def load_set(name: str) -> DataSet:
    """Load or make a set: sst2, tickets or intents. Exits if the GLUE files are missing."""
    if name == "sst2":
        pool, test = (
            tuple(Row(row["sentence"], row["label"]) for row in split_rows(f"sst2/{split}"))
            for split in ("train", "validation")
        )
        return DataSet("sst2", "SST-2", pool, test)
    phrases: Mapping[str, Sequence[str]] = {"tickets": TICKETS, "intents": INTENTS}[name]
    rows = make_rows(phrases, MADE_ROWS + MADE_TESTS)
    return DataSet(name, f"{len(phrases)} classes, made", rows[MADE_TESTS:], rows[:MADE_TESTS])


def make_rows(phrases: Mapping[str, Sequence[str]], count: int, seed: int = 0) -> tuple[Row, ...]:
    """Make `count` different texts, the classes in turn; the same seed makes the same texts."""
    drawn = random.Random(seed)
    found: dict[str, Row] = {}
    labels = list(phrases)
    while len(found) < count:
        label = labels[len(found) % len(labels)]
        parts = (drawn.choice(OPENERS), drawn.choice(phrases[label]), drawn.choice(CLOSERS))
        text = " ".join(part for part in parts if part)
        text = text.format(**{name: drawn.choice(words) for name, words in SLOTS.items()})
        found.setdefault(text, Row(text, label))
    return tuple(found.values())


def draw(data: DataSet, size: str, seed: int) -> list[Row]:
    """Draw training rows: size "8 a class" or "500 rows". Raises ValueError if the set has too few."""
    number, drawn = int(size.split()[0]), random.Random(seed)
    if size.endswith("rows"):
        if number > len(data.pool):
            raise ValueError(f"{data.name} has {len(data.pool)} rows, not {number}")
        return drawn.sample(data.pool, number)
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in data.pool:
        by_label[row.label].append(row)
    if (least := min(map(len, by_label.values()))) < number:
        raise ValueError(f"{data.name} has a class of {least} rows, not {number}")
    rows = [row for label in sorted(by_label) for row in drawn.sample(by_label[label], number)]
    drawn.shuffle(rows)
    return rows


SETS = ("sst2", "tickets", "intents")
SIZES = (*(f"{count} a class" for count in PER_CLASS), *(f"{count} rows" for count in ROWS))
