"""The curves of a training log, and the charts of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.train.evaluation.analysis import Analysis
from service.train.fit.progress import smooth
from service.train.report.charts import Chart, Series, make_chart

MAX_POINTS = 2000  # of a scatter chart
NO_METRIC = (
    "loss",
    "selection",
    "runtime",
    "samples_per_second",
    "steps_per_second",
)  # entries of an evaluation that are not metrics

Points = tuple[tuple[int, float], ...]  # (step, value)


@dataclass(frozen=True)
class Curves:
    """Measurements by step; a resumed training has those of its first process, too."""

    training_loss: Points  # means over some steps
    validation_loss: Points
    metrics: Mapping[str, Points]  # validation metrics by name
    epochs: Mapping[int, float]  # epochs passed at the step of each evaluation
    best_step: int | None  # step of the best checkpoint


def read_curves(log_history: Sequence[Mapping[str, Any]], best_step: int | None) -> Curves:
    """Read the curves from `state.log_history` of transformers, which checkpoints keep."""
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


def _points(values: Mapping[int, float]) -> Points:
    return tuple(sorted(values.items()))


def make_charts(metric: str, curves: Curves, analysis: Analysis) -> list[Chart]:
    """Make the charts that have points; `metric` is the first curve."""
    of_type = _scatter(analysis) if analysis.type == "regression" else _reliability(analysis)
    return [chart for chart in (*_by_step(metric, curves), of_type) if chart]


def _by_step(metric: str, curves: Curves) -> list[Chart | None]:
    steps = [step for points in (curves.training_loss, curves.validation_loss) for step, _ in points]
    x_range = (0.0, float(max(steps))) if steps else None
    mark = (float(curves.best_step), "best") if curves.best_step else None
    smoothed = smooth([loss for _, loss in curves.training_loss])
    losses = [
        Series("", curves.training_loss, "faint"),
        Series("training", [(step, loss) for (step, _), loss in zip(curves.training_loss, smoothed, strict=True)]),
        Series("validation", curves.validation_loss, colour=1),
    ]
    # rmse has the unit of the data; the other metrics lie in -1..1
    names = sorted((name for name in curves.metrics if name != "rmse"), key=lambda name: name != metric)
    scores = [Series(name, curves.metrics[name], colour=min(index, 2)) for index, name in enumerate(names)]
    errors = [Series("rmse", curves.metrics.get("rmse", ()))]
    return [
        make_chart("Loss", "step", losses, x_range=x_range, mark=mark),
        make_chart("Validation metrics", "step", scores, x_range=x_range, mark=mark),
        make_chart("Validation error", "step", errors, x_range=x_range, mark=mark),
    ]


def _scatter(analysis: Analysis) -> Chart | None:
    points = analysis.points[:: 1 + len(analysis.points) // MAX_POINTS].tolist()
    return make_chart("Predicted (up) against true", "true", [Series("", points, "dots")], diagonal=True)


def _reliability(analysis: Analysis) -> Chart | None:
    points = [(item.mean, item.share) for item in analysis.bins]
    told = "is right" if analysis.type == "single_label" else "has the label"
    series = [Series("", points), Series("", points, "dots")]
    title = f"Share that {told} (up) by probability"
    return make_chart(title, "probability", series, x_range=(0, 1), y_range=(0, 1), diagonal=True)
