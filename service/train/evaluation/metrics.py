"""Metrics of a task from logits and targets; higher is better, except for rmse."""

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import confusion_matrix, f1_score, matthews_corrcoef

from adapters.config import TaskType


def compute_metrics(logits: np.ndarray, targets: np.ndarray, task_type: TaskType) -> dict[str, float]:
    """Score N rows: logits [N, num_outputs]; targets [N] classes or numbers, or [N, num_labels] of 0 and 1.

    single_label: accuracy, f1 (see `macro_f1`), matthews. multi_label: micro_f1, f1 (macro, too). regression: pearson,
    spearman, rmse.
    """
    if task_type == "regression":
        return _regression(logits[:, 0].astype(np.float64), targets.astype(np.float64))
    if task_type == "multi_label":
        chosen, truth = logits >= 0, targets >= 0.5  # a sigmoid of at least one half
        return {
            "micro_f1": float(f1_score(truth, chosen, average="micro", zero_division=0.0)),
            "f1": macro_f1((truth & chosen).sum(axis=0), chosen.sum(axis=0), truth.sum(axis=0)),
        }
    predicted = logits.argmax(axis=1)
    confusion = confusion_matrix(targets, predicted, labels=range(logits.shape[1]))
    return {
        "accuracy": float((predicted == targets).mean()),
        "f1": macro_f1(confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)),
        "matthews": float(matthews_corrcoef(targets, predicted)),
    }


def f1_scores(found: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
    """F1 of each class, [L], from its true positives, its predictions and its rows; NaN without any of them."""
    either = predicted + support
    return np.where(either > 0, 2 * found / np.maximum(either, 1), np.nan)


def macro_f1(found: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> float:
    """Mean F1 of the classes that occur in the targets or the predictions, as in scikit-learn; 0 without any."""
    scores = f1_scores(found, predicted, support)
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else 0.0


def _regression(predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    return {
        "pearson": _correlation(predicted, targets),
        "spearman": _correlation(rankdata(predicted), rankdata(targets)),
        "rmse": float(np.sqrt(np.mean((predicted - targets) ** 2))),
    }


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's r; 0 if it is not defined because one of the two is constant."""
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else 0.0
