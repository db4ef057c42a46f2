"""The uncertainty of a score: its 95 % interval, and the score of a constant prediction."""

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from adapters.config import TaskType
from service.train.evaluation.metrics import macro_f1

Z = 1.959964  # of a 95 % interval
MIN_RESAMPLES, MAX_RESAMPLES = 200, 1000
MAX_WORK = 2e8  # numbers read by all resamples together, beyond MIN_RESAMPLES


def confidence_interval(
    logits: np.ndarray, targets: np.ndarray, task_type: TaskType, metric: str, seed: int
) -> tuple[float, float]:
    """The 95 % interval of a metric: Wilson's for accuracy, else the quantiles of bootstrap resamples of the rows.

    logits [N, num_outputs]; targets [N] classes or numbers, or [N, num_labels] of 0 and 1. `seed` draws the resamples.
    Spearman's ranks are those of all rows.
    """
    num_rows = len(targets)
    if metric == "accuracy":
        return wilson(int((logits.argmax(axis=1) == targets).sum()), num_rows)
    terms, score = _terms(logits, targets, task_type, metric)
    drawn = np.random.default_rng(seed)
    resamples = int(min(MAX_RESAMPLES, max(MIN_RESAMPLES, MAX_WORK / terms.size)))
    scores = [
        score(np.bincount(drawn.integers(0, num_rows, num_rows), minlength=num_rows) @ terms) for _ in range(resamples)
    ]
    low, high = np.quantile(scores, (0.025, 0.975))
    return float(low), float(high)


def wilson(right: int, num_rows: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: `right` of `num_rows` rows (Wilson, 1927)."""
    share, z2 = right / num_rows, Z * Z / num_rows
    centre = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(share * (1 - share) * z2 + z2 * z2 / 4) / (1 + z2)
    return max(0.0, centre - half), min(1.0, centre + half)


def constant_score(targets: np.ndarray, task_type: TaskType, num_outputs: int, metric: str) -> float:
    """The score of a constant prediction: the most frequent class, the labels of half the rows or more, or a number."""
    if task_type == "regression":
        return 0.0
    num_rows = len(targets)
    if task_type == "multi_label":
        support = (targets >= 0.5).sum(axis=0)
        chosen = 2 * support >= num_rows
    else:
        support = np.bincount(targets.astype(np.int64), minlength=num_outputs)
        chosen = np.arange(num_outputs) == support.argmax()
    return counted_score(metric, support * chosen, num_rows * chosen, support)


def counted_score(metric: str, found: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> float:
    """Accuracy, f1, micro_f1 or matthews from each class' true positives, predictions and rows, [num_labels] each."""
    if metric == "f1":
        return macro_f1(found, predicted, support)
    right = float(found.sum())
    if metric == "micro_f1":
        either = float(predicted.sum() + support.sum())
        return 2 * right / either if either else 0.0
    rows = float(support.sum())
    if metric == "accuracy":
        return right / rows
    covariance = right * rows - float(predicted @ support)
    product = (rows**2 - float(predicted @ predicted)) * (rows**2 - float(support @ support))
    return covariance / math.sqrt(product) if product > 0 else 0.0


def _terms(
    logits: np.ndarray, targets: np.ndarray, task_type: TaskType, metric: str
) -> tuple[np.ndarray, Callable[[np.ndarray], float]]:
    """Terms [N, S] of each row, and the score of the sum of any rows' terms."""
    if task_type == "regression":
        x, y = logits[:, 0].astype(np.float64), targets.astype(np.float64)
        if metric == "spearman":
            x, y = rankdata(x), rankdata(y)
        x, y = x - x.mean(), y - y.mean()
        return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1), _correlation
    if task_type == "multi_label":
        predicted, truth = logits >= 0, targets >= 0.5
    else:
        labels = np.arange(logits.shape[1])
        predicted, truth = (values[:, None] == labels for values in (logits.argmax(axis=1), targets))
    terms = np.concatenate([predicted & truth, predicted, truth], axis=1).astype(np.float64)
    return terms, lambda total: counted_score(metric, *total.reshape(3, -1))


def _correlation(total: np.ndarray) -> float:
    """Pearson's r from the sums of 1, x, y, x^2, y^2 and x y; 0 where it is not defined."""
    rows, x, y, xx, yy, xy = total.tolist()
    product = (rows * xx - x * x) * (rows * yy - y * y)
    return max(-1.0, min(1.0, (rows * xy - x * y) / math.sqrt(product))) if product > 0 else 0.0
