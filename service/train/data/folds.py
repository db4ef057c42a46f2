"""Divide few training rows into folds for cross-validation."""

import random

from service.train.data.duplicates import rows_by_class
from service.train.data.labels import LabelScheme
from service.train.data.split import Split

NUM_FOLDS = 3
MAX_ROWS = 300  # with more, a tenth of the rows is enough to choose by
ALWAYS_TRAINED = -1  # the fold of a row that is never held out


def assign_folds(split: Split, scheme: LabelScheme, *, seed: int) -> tuple[int, ...]:
    """The fold of each row, drawn by `seed`; the inputs of a class are dealt to the folds in turn.

    Rows with the same input are in one fold. Rows of a class with one input, and inputs whose classes contradict each
    other, are ALWAYS_TRAINED; the result is empty if all rows are.
    """
    drawn = random.Random(seed)
    folds = [ALWAYS_TRAINED] * len(split)
    turn = 0
    for members in rows_by_class(split, scheme):
        if len(members) < 2:
            continue
        for rows in drawn.sample(members, len(members)):
            for row in rows:
                folds[row] = turn % NUM_FOLDS
            turn += 1
    return tuple(folds) if turn else ()
