"""Hold out some of the training rows for validation."""

import random
from collections import Counter

from service.train.data.duplicates import rows_by_class, rows_by_input
from service.train.data.labels import LabelScheme
from service.train.data.split import Split, quote_labels
from service.train.errors import DataError

HELD_OUT = 0.1  # share of the rows
MUCH = 0.15  # share of held-out rows from which a warning says so


def hold_out(split: Split, scheme: LabelScheme, *, seed: int) -> tuple[Split, Split]:
    """Split into a training part and a held-out part of a tenth of the rows, per class, drawn by `seed`.

    At least one input of a class is held out, and never all. Rows with the same input stay in one part; inputs whose
    classes contradict each other stay in the training part. Raises DataError if nothing can be held out.
    """
    drawn = random.Random(seed)
    held: set[int] = set()
    for members in rows_by_class(split, scheme):
        held.update(_draw(members, drawn))
    if not held:
        raise DataError(f"{split.name}: {_find_cause(split, scheme)}, or give --validation FILE")
    rest = [row for row in range(len(split)) if row not in held]
    return split.take(rest, "training part"), split.take(sorted(held), "held-out part")


def describe_held_out(train: Split, validation: Split) -> list[str]:
    """Warn if far more than a tenth of the rows is held out."""
    count, total = len(validation), len(train) + len(validation)
    if count <= MUCH * total:
        return []
    return [
        f"{train.file}: {count:,} of {total:,} rows ({count / total:.0%}) are held out for validation: at least "
        "one of each class; --validation FILE keeps all rows for training"
    ]


def _draw(groups: list[list[int]], drawn: random.Random) -> list[int]:
    """Draw whole groups with about a tenth of the rows; at least one group of two or more, and never all."""
    wanted = max(1, round(HELD_OUT * sum(len(rows) for rows in groups)))
    chosen: list[int] = []
    for rows in drawn.sample(groups, len(groups)):
        if len(chosen) + len(rows) <= wanted:
            chosen += rows
    if not chosen:
        chosen = min(groups, key=len)
    return chosen if len(groups) > 1 else []


def _find_cause(split: Split, scheme: LabelScheme) -> str:
    """The reason why no row can be held out, with the remedy."""
    inputs = len(rows_by_input(split))
    if inputs == 1 or scheme.type != "single_label":
        return f"{len(split):,} rows with {inputs:,} different input{'s' * (inputs > 1)} cannot be split; add rows"
    most = max(Counter(split.targets).values())
    what = f"each of the {len(scheme.names):,} classes in column {scheme.column} ({quote_labels(scheme.names)}) has one"
    if most == 1:
        return f"{what} row, so none can be held out; name the right column with --label-column, add rows of each class"
    if inputs == len(scheme.names):
        return f"{what} input, however often it occurs; add rows with other texts"
    return "no class has two inputs whose labels do not contradict each other; correct the labels, add rows"
