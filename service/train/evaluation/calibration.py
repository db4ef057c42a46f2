"""Calibration: a temperature that divides the logits, and the calibration error with and without it.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017. `targets` are classes [N], or 0 and 1
[N, num_labels] of a multi-label task, whose N * num_labels decisions count as rows.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from adapters.config import MAX_TEMPERATURE, TaskType
from adapters.method.heads import to_probabilities

MIN_ROWS = 20  # fewer rows say nothing about confidence
NUM_BINS = 15  # as in the paper
NUM_FOLDS = 5
MIN_FITTED = 0.1  # lower temperatures, fitted if every row or nearly every row is right, would be overconfident
MIN_GAIN = 1e-9  # nats per row; less is rounding


@dataclass(frozen=True)
class Calibration:
    """The temperature and the calibration metrics of an adapter file."""

    temperature: float  # fitted on all rows
    metrics: dict[str, float]  # ece, nll: cross-validated; *_uncalibrated: at temperature 1


def calibrate(logits: np.ndarray, targets: np.ndarray, task_type: TaskType, seed: int) -> Calibration:
    """Calibrate logits [N, num_outputs]; temperature 1 and no metrics for a regression or less than MIN_ROWS rows."""
    if task_type == "regression" or len(logits) < MIN_ROWS:
        return Calibration(1.0, {})
    logits = logits.astype(np.float64)
    held_out = cross_fitted(logits, targets, seed)
    return Calibration(
        fit_temperature(logits, targets),
        {
            "ece_uncalibrated": expected_calibration_error(to_probabilities(logits, task_type), targets),
            "ece": expected_calibration_error(to_probabilities(held_out, task_type), targets),
            "nll_uncalibrated": negative_log_likelihood(logits, targets),
            "nll": negative_log_likelihood(held_out, targets),
        },
    )


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Fit the temperature with the least negative log likelihood, to four digits, in MIN_FITTED..MAX_TEMPERATURE.

    It is 1 if no other temperature is better on these rows. If every row is right, the likelihood only grows as the
    temperature falls: then it is at most 1, and fitted to the targets of `smoothed_likelihood`.
    """
    all_right = _all_right(logits, targets)
    likelihood = smoothed_likelihood if all_right else negative_log_likelihood
    # the likelihood has one peak: it is concave in the inverse of the temperature
    found = minimize_scalar(
        lambda log_temperature: likelihood(logits / math.exp(log_temperature), targets),
        bounds=(math.log(MIN_FITTED), 0.0 if all_right else math.log(MAX_TEMPERATURE)),
        method="bounded",
    )
    temperature = float(f"{math.exp(found.x):.4g}")
    gain = negative_log_likelihood(logits, targets) - negative_log_likelihood(logits / temperature, targets)
    return temperature if gain > MIN_GAIN else 1.0


def cross_fitted(logits: np.ndarray, targets: np.ndarray, seed: int) -> np.ndarray:
    """Divide each row's logits by the temperature fitted on the other folds; `seed` draws the folds."""
    fold_of = np.random.default_rng(seed).permutation(len(logits)) % NUM_FOLDS
    scaled = np.empty_like(logits)
    for fold in range(NUM_FOLDS):
        rest = fold_of != fold
        scaled[~rest] = logits[~rest] / fit_temperature(logits[rest], targets[rest])
    return scaled


def negative_log_likelihood(logits: np.ndarray, targets: np.ndarray) -> float:
    """The mean negative log likelihood of the rows, in nats."""
    if targets.ndim == 2:
        return float(np.logaddexp(0.0, -_signed(logits, targets)).mean())
    return -float(log_softmax(logits, axis=1)[np.arange(len(targets)), targets].mean())


def smoothed_likelihood(logits: np.ndarray, targets: np.ndarray) -> float:
    """The mean negative log likelihood of smoothed targets, in nats.

    Of n right decisions the next one is right with a chance of (n + 1) / (n + 2), as Laplace has it, and Platt for the
    targets of his scaling (Platt, 1999). The rest of a row's target is spread evenly over the other classes.
    """
    if targets.ndim == 2:
        signed = _signed(logits, targets)
        wrong = 1 / (signed.size + 2)
        return float(((1 - wrong) * np.logaddexp(0.0, -signed) + wrong * np.logaddexp(0.0, signed)).mean())
    num_rows, num_labels = logits.shape
    wrong = 1 / (num_rows + 2)
    log_chances = log_softmax(logits, axis=1)
    right = log_chances[np.arange(num_rows), targets]
    others = (log_chances.sum(axis=1) - right) / (num_labels - 1)
    return -float(((1 - wrong) * right + wrong * others).mean())


def expected_calibration_error(probabilities: np.ndarray, targets: np.ndarray, bins: int = NUM_BINS) -> float:
    """ECE, 0 to 1: the sum over bins of (rows in it / all rows) * |share of right rows - mean confidence|.

    Confidence is the probability of the answer: of the best label, or of the decision about a label. Bin m is
    ((m-1)/bins, m/bins].
    """
    if targets.ndim == 2:
        confidence = np.maximum(probabilities, 1 - probabilities).ravel()
        right = ((probabilities >= 0.5) == (targets >= 0.5)).ravel()
    else:
        confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(bin_of, weights=confidence - right)).sum() / len(confidence))


def _all_right(logits: np.ndarray, targets: np.ndarray) -> bool:
    if targets.ndim == 2:
        return bool((_signed(logits, targets) >= 0).all())
    return bool((logits[np.arange(len(targets)), targets] >= logits.max(axis=1)).all())


def _signed(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The distance of each label's logit from 0, positive on the right side."""
    signed: np.ndarray = np.where(targets >= 0.5, logits, -logits)
    return signed
