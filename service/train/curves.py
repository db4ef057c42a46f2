"""The log of a training -> its curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SMOOTHING = 0.7  # weight of what came before, in the mean that is shown of the training loss
NO_METRIC = ("loss", "runtime", "samples_per_second", "steps_per_second")  # of what an evaluation logs

Points = tuple[tuple[int, float], ...]  # (step, value)


@dataclass(frozen=True)
class Curves:
    """What was measured at which step; a resumed training's from its first step on."""

    training_loss: Points  # means over some steps
    validation_loss: Points
    metrics: Mapping[str, Points]  # of the validation data, by name
    epochs: Mapping[int, float]  # that had passed at the steps of the evaluations
    best_step: int | None  # whose checkpoint was kept


def read_curves(log_history: Sequence[Mapping[str, Any]], best_step: int | None) -> Curves:
    """From transformers' `state.log_history`, which its checkpoints keep."""
    training: dict[int, float] = {}
    metrics: dict[str, dict[int, float]] = {}
    epochs: dict[int, float] = {}
    for entry in log_history:
        step = int(entry["step"])
        if "loss" in entry:
            training[step] = float(entry["loss"])
        for key, value in entry.items():
            if key.startswith("eval_"):
                metrics.setdefault(key.removeprefix("eval_"), {})[step] = float(value)
                epochs[step] = float(entry["epoch"])
    return Curves(
        training_loss=_points(training),
        validation_loss=_points(metrics.get("loss", {})),
        metrics={name: _points(values) for name, values in metrics.items() if name not in NO_METRIC},
        epochs=epochs,
        best_step=best_step,
    )


def smooth(values: Sequence[float]) -> list[float]:
    """The exponential mean up to each value, without a bias towards the first."""
    smoothed, mean, weight = [], 0.0, 0.0
    for value in values:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        smoothed.append(mean / weight)
    return smoothed


def _points(values: Mapping[int, float]) -> Points:
    return tuple(sorted(values.items()))
