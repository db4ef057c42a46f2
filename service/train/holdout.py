"""Hold some of the training rows out, to validate on."""

import random
from collections import defaultdict

from service.train.duplicates import rows_by_input
from service.train.errors import DataError
from service.train.labels import Label
from service.train.split import Split

HELD_OUT = 0.1  # share of the rows


def hold_out(split: Split, *, by_class: bool, seed: int) -> tuple[Split, Split]:
    """A training part, and a tenth of the rows drawn by `seed`; of each class, where there are classes.

    Rows with the same input stay together, so that no part knows an input of the other. Those whose classes
    contradict each other are trained on.
    """
    groups: dict[Label | None, list[list[int]]] = defaultdict(list)
    for rows in rows_by_input(split.inputs).values():
        targets = {split.targets[row] if by_class else None for row in rows}
        if len(targets) == 1:
            groups[targets.pop()].append(rows)
    drawn = random.Random(seed)
    held: set[int] = set()
    for members in groups.values():
        held.update(_draw(members, drawn))
    if not held:
        raise DataError(f"{split.name}: {len(split)} rows are too few to hold some out; give --validation FILE")
    rest = [row for row in range(len(split)) if row not in held]
    return split.take(rest, "training part"), split.take(sorted(held), "held-out part")


def _draw(groups: list[list[int]], drawn: random.Random) -> list[int]:
    """About a tenth of the rows, never all: whole groups, at least one where there are two."""
    wanted = max(1, round(HELD_OUT * sum(len(rows) for rows in groups)))
    chosen: list[int] = []
    for rows in drawn.sample(groups, len(groups)):
        if len(chosen) + len(rows) <= wanted:
            chosen += rows
    if not chosen:
        chosen = min(groups, key=len)
    return chosen if len(groups) > 1 else []
