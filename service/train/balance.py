"""How often each label occurs: weights that make up for it, and what to say of skewed data."""

from collections.abc import Sequence

import numpy as np

from adapters.config import TaskType
from service.train.labels import Label, LabelScheme
from service.train.split import Split

SKEWED = 10  # times as many rows of the most frequent label as of the rarest
MAX_POSITIVE_WEIGHT = 20.0  # of a label that is seldom set; more, and it is predicted everywhere


def count_labels(targets: Sequence[Label], num_labels: int) -> np.ndarray:
    """Rows with each label, [num_labels], of classes or sets of classes."""
    counts = np.zeros(num_labels, dtype=np.int64)
    for target in targets:
        counts[list(target) if isinstance(target, tuple) else target] += 1  # type: ignore[index]  # no number
    return counts


def balanced_weights(task_type: TaskType, targets: Sequence[Label], num_labels: int) -> tuple[float, ...]:
    """One weight per label, 1 for one that never occurs.

    Of K classes that occur in N rows: N / (K * count), as in scikit-learn; their mean over the rows is 1. Of a
    label that is set or not: rows without / rows with, within 1/20..20.
    """
    counts = count_labels(targets, num_labels)
    occurs = counts > 0
    if task_type == "single_label":
        weights = len(targets) / (occurs.sum() * np.maximum(counts, 1))
    else:
        odds = (len(targets) - counts) / np.maximum(counts, 1)
        weights = odds.clip(1 / MAX_POSITIVE_WEIGHT, MAX_POSITIVE_WEIGHT)
    return tuple(np.where(occurs, weights, 1.0).tolist())


def describe_balance(scheme: LabelScheme, train: Split, *, weighted: bool) -> list[str]:
    """Warnings: labels without a row to learn from, and skewed data that nobody asked to weigh."""
    if scheme.type == "regression":
        return []
    counts = count_labels(train.targets, len(scheme.names))
    warnings = []
    if absent := [scheme.names[index] for index in np.flatnonzero(counts == 0)]:
        listed = ", ".join(repr(name) for name in absent[:5]) + (" ..." if len(absent) > 5 else "")
        warnings.append(f"{train.name}: no row has the label {listed}, so it cannot be learnt; add rows that have it")
    rarest = int(np.where(counts > 0, counts, counts.max()).argmin())
    most = int(counts.argmax())
    if counts[rarest] * SKEWED < counts[most] and not weighted:
        warnings.append(
            f"{train.name}: the labels are skewed, {counts[most]:,} rows of {scheme.names[most]!r} and "
            f"{counts[rarest]:,} of {scheme.names[rarest]!r}; --class-weights balanced weighs them alike, --metric f1 "
            "judges them alike"
        )
    return warnings
