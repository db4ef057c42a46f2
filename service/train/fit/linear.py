"""Linear models with an L2 penalty: logistic regression for classes and for labels, ridge regression for numbers.

All take rows x [N, D] float64 and targets y [N, K]: one-hot classes, 0 and 1 for each label, or one number (K = 1).
Coefficients are [K, D + 1] float64; the last column is the bias, which has no penalty.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from adapters.config import TaskType

MAX_ITERATIONS = 1000
TOLERANCE = 1e-12  # of the objective's last step, as a share of it
GRADIENT = 1e-6  # of the largest entry of the gradient


@dataclass(frozen=True, eq=False)
class Objective:
    """The mean loss of the rows plus penalty / 2 * |W|^2.

    The loss is cross entropy, the sum of the labels' binary cross entropies, or the squared error. `weights` [K]
    multiply the loss of a row by that of its class, or that of a set label.
    """

    type: TaskType
    x: np.ndarray
    y: np.ndarray
    penalty: float
    weights: np.ndarray | None = None

    def __call__(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the objective and its gradient at flattened coefficients."""
        theta = flat.reshape(self.y.shape[1], -1)
        logits = apply_linear(theta, self.x)
        slopes = _slopes(self.type, logits, self.y, self.weights) / len(self.x)
        slope = slopes.T @ self.x + self.penalty * theta[:, :-1]
        gradient = np.concatenate([slope, slopes.sum(axis=0)[:, None]], axis=1)
        value = row_losses(self.type, logits, self.y, self.weights).mean()
        return float(value + 0.5 * self.penalty * (theta[:, :-1] ** 2).sum()), gradient.ravel()


def fit_linear(
    objective: Objective, start: np.ndarray | None = None, max_iterations: int = MAX_ITERATIONS
) -> np.ndarray:
    """Minimise the objective, from `start` or from zeros; returns the coefficients [K, D + 1]."""
    x, y = objective.x, objective.y
    if objective.type == "regression":
        return _fit_ridge(x, y, objective.penalty)
    shape = y.shape[1], x.shape[1] + 1
    found = minimize(
        objective,
        np.zeros(shape).ravel() if start is None else start.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iterations, "ftol": TOLERANCE, "gtol": GRADIENT},
    )
    return cast(np.ndarray, found.x).reshape(shape)


def apply_linear(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Coefficients [K, D + 1] on rows [N, D] -> logits [N, K]."""
    logits: np.ndarray = x @ theta[:, :-1].T + theta[:, -1]
    return logits


def row_losses(task_type: TaskType, logits: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The loss of each row, [N]; see Objective."""
    if task_type == "regression":
        losses: np.ndarray = ((logits - y) ** 2).sum(axis=1)
        return losses
    weighted = y if weights is None else y * weights
    if task_type == "multi_label":
        losses = (weighted * np.logaddexp(0, -logits) + (1 - y) * np.logaddexp(0, logits)).sum(axis=1)
        return losses
    losses = weighted.sum(axis=1) * (logsumexp(logits, axis=1) - (y * logits).sum(axis=1))
    return losses


def _slopes(task_type: TaskType, logits: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The derivative of each row's loss by its logits, [N, K]; not used for numbers."""
    weighted = y if weights is None else y * weights
    if task_type == "multi_label":
        slopes: np.ndarray = (1 - y) * expit(logits) - weighted * expit(-logits)
        return slopes
    chances = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    slopes = weighted.sum(axis=1, keepdims=True) * (chances - y)
    return slopes


def _fit_ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """The closed form: (2 X'X / N + penalty I) W' = 2 X'Y / N for centred X and Y."""
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x, y = x - mean_x, y - mean_y
    gram = 2 * x.T @ x / len(x) + penalty * np.eye(x.shape[1])
    weight = np.linalg.solve(gram, 2 * x.T @ y / len(x)).T
    return np.concatenate([weight, (mean_y - weight @ mean_x)[:, None]], axis=1)
