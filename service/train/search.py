"""Random search over learning rate and epochs: train several candidates and keep the best."""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from service.train.errors import TrainingError
from service.train.fit.output_folder import (
    ADAPTER_FILE,
    PLAN_FILE,
    REPORT_FILE,
    RESULT_FILE,
    check_folder,
    write_atomically,
)
from service.train.options import FitOptions, TrainOptions
from service.train.pipeline import train
from service.train.publish import publish
from service.train.result import TrainResult

SEARCH_FOLDER = "search"
SEARCH_FILE = "search.json"
RATE_SPAN = 4.0  # rates are drawn, evenly by their logarithm, from a quarter of the recipe's rate to four times it
EPOCH_FACTORS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Candidate:
    """The settings of one training in the search."""

    learning_rate: float
    epochs: int


def candidates(options: FitOptions) -> Iterator[Candidate]:
    """Endless: first the settings of `options`, then drawn ones. The first N are the same for every number of draws."""
    recipe, drawn = options.hyper_parameters, random.Random(options.seed)
    yield Candidate(recipe.learning_rate, recipe.epochs)
    while True:
        rate = recipe.learning_rate * math.exp(drawn.uniform(-1, 1) * math.log(RATE_SPAN))
        epochs = max(1, round(recipe.epochs * drawn.choice(EPOCH_FACTORS)))
        yield Candidate(float(f"{rate:.2g}"), epochs)


def search(options: TrainOptions, count: int, console: Console | None = None) -> TrainResult | None:
    """Train `count` candidates in OUTPUT/search; keep, publish and return the one with the best validation metric.

    OUTPUT/search.json lists all candidates. With --resume, finished candidates are not trained again. Returns None on
    every process of a distributed training except the first. Raises as service.train.pipeline.train does.
    """
    if count < 1:
        raise TrainingError(f"--search {count}: give 1 training or more")
    check_folder(options.folder, options.publish)
    console = console or Console(stderr=True, emoji=False)
    tried: list[tuple[Candidate, TrainResult]] = []
    for number, candidate in zip(range(1, count + 1), candidates(options.fit), strict=False):
        console.print(
            f"search {number} of {count}: learning rate {candidate.learning_rate:g}, {candidate.epochs} epochs",
            highlight=False,
        )
        unpublished: dict[str, None] = dict.fromkeys(("url", "key", "registry"))
        result = train(options.change(output=_folder(options, number), **vars(candidate), **unpublished), console)
        if result is not None:
            tried.append((candidate, result))
    if not tried:
        return None
    best, result = max(tried, key=lambda pair: pair[1].metrics[pair[1].metric])
    console.print(
        f"best of {count}: learning rate {best.learning_rate:g}, {best.epochs} epochs", highlight=False, soft_wrap=True
    )
    return _keep(options, result, tried)


def _folder(options: TrainOptions, number: int) -> Path:
    return options.folder / SEARCH_FOLDER / f"{number:02}"


def _keep(options: TrainOptions, best: TrainResult, tried: list[tuple[Candidate, TrainResult]]) -> TrainResult:
    """Copy the files of the best candidate to OUTPUT, the adapter last, and publish it."""
    output = options.folder
    lines = [
        {
            "learning_rate": candidate.learning_rate,
            "epochs": candidate.epochs,
            "epochs_trained": result.epochs,
            "metric": result.metric,
            "score": result.metrics[result.metric],
            "duration_s": result.duration_s,
            "best": result is best,
        }
        for candidate, result in tried
    ]
    write_atomically(output / SEARCH_FILE, json.dumps(lines, indent=2).encode())
    number = next(index for index, (_, result) in enumerate(tried, start=1) if result is best)
    for name in (PLAN_FILE, REPORT_FILE, RESULT_FILE, ADAPTER_FILE):
        if (file := _folder(options, number) / name).exists():
            write_atomically(output / name, file.read_bytes())
    report = output / REPORT_FILE if best.report else None
    if best.path is None:
        return replace(best, report=report)
    path = output / ADAPTER_FILE
    publication = publish(options.publish, options.task, path.read_bytes(), path)
    return replace(best, path=path, report=report, publication=publication)
