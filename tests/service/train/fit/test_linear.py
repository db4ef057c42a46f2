"""The penalised linear models, against scikit-learn."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from adapters.config import TaskType
from service.train.fit.linear import Objective, apply_linear, fit_linear, row_losses

N, D, K = 60, 5, 4


def rows_of(task_type: TaskType) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x [N, D], y [N, K] as the models take it, and the targets as scikit-learn does."""
    drawn = np.random.default_rng(0)
    x = drawn.normal(size=(N, D)) + 0.5
    scores = x @ drawn.normal(size=(D, K)) + drawn.normal(size=(N, K))
    if task_type == "regression":
        return x, scores[:, :1], scores[:, 0]
    if task_type == "multi_label":
        return x, (scores > 0).astype(np.float64), scores > 0
    return x, np.eye(K)[scores.argmax(axis=1)], scores.argmax(axis=1)


@pytest.mark.parametrize("strength", [0.1, 10.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_classes_are_fitted_as_by_scikit_learn(strength: float, weighted: bool) -> None:
    """Multinomial logistic regression with C = strength; weights of classes are its class_weight."""
    x, y, classes = rows_of("single_label")
    weights = np.array([0.5, 1.0, 2.0, 4.0]) if weighted else None
    theta = fit_linear(Objective("single_label", x, y, 1 / (strength * N), weights))
    model: Any = LogisticRegression(
        C=strength, tol=1e-8, max_iter=5000, class_weight=dict(enumerate(weights)) if weights is not None else None
    ).fit(x, classes)
    np.testing.assert_allclose(theta[:, :-1], model.coef_, atol=2e-3)
    # all biases may be shifted together
    np.testing.assert_allclose(
        theta[:, -1] - theta[:, -1].mean(), model.intercept_ - model.intercept_.mean(), atol=2e-3
    )


@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_labels_are_fitted_one_against_the_rest(strength: float) -> None:
    """Each label has the logistic regression that it has alone."""
    x, y, truth = rows_of("multi_label")
    theta = fit_linear(Objective("multi_label", x, y, 1 / (strength * N)))
    for label in range(K):
        model: Any = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(x, truth[:, label])
        np.testing.assert_allclose(theta[label], np.append(model.coef_[0], model.intercept_), atol=2e-3)


def test_numbers_are_fitted_by_ridge_regression() -> None:
    """The closed form is scikit-learn's Ridge, whose alpha is half of the penalty times the rows."""
    x, y, numbers = rows_of("regression")
    theta = fit_linear(Objective("regression", x, y, penalty=0.3))
    model: Any = Ridge(alpha=0.3 * N / 2).fit(x, numbers)
    np.testing.assert_allclose(theta[0], np.append(model.coef_, model.intercept_))


@pytest.mark.parametrize("task_type", ["single_label", "multi_label"])
def test_the_gradient_is_that_of_the_objective(task_type: TaskType) -> None:
    """It agrees with finite differences, weights included."""
    x, y, _ = rows_of(task_type)
    objective = Objective(task_type, x, y, 0.1, np.array([0.5, 1.0, 2.0, 4.0]))
    at = np.random.default_rng(1).normal(size=K * (D + 1))
    _, gradient = objective(at)
    for index in range(len(at)):
        step = np.zeros_like(at)
        step[index] = 1e-6
        slope = (objective(at + step)[0] - objective(at - step)[0]) / 2e-6
        assert gradient[index] == pytest.approx(slope, abs=1e-6)


def test_rows_that_a_line_separates_have_finite_coefficients() -> None:
    """The penalty bounds the coefficients, and a class without a row gets a bias that rules it out."""
    x = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    y = np.eye(3)[[0, 0, 1, 1]]
    theta = fit_linear(Objective("single_label", x, y, 1 / (1000 * 4)))
    assert np.isfinite(theta).all()
    assert apply_linear(theta, x).argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert theta[2, -1] < theta[:2, -1].min() - 2
    assert row_losses("single_label", apply_linear(theta, x), y, None).max() < 0.1
