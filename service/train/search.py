"""Random search over learning rate and epochs: several trainings, of which the best is kept."""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

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
from service.train.options import Target, TrainOptions
from service.train.pipeline import train
from service.train.publish import publish
from service.train.result import TrainResult

SEARCH_FOLDER = "search"
SEARCH_FILE = "search.json"
RATE_SPAN = 4.0  # rates are drawn between a quarter of the recipe's and four times it, evenly by their logarithm
EPOCH_FACTORS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Candidate:
    """What one training of the search has of its own."""

    learning_rate: float
    epochs: int


def candidates(options: TrainOptions) -> Iterator[Candidate]:
    """Without end: first what `options` say, then drawn by their seed; the first N are the same whatever N is."""
    recipe, drawn = options.recipe, random.Random(options.seed)
    yield Candidate(recipe.learning_rate, recipe.epochs)
    while True:
        rate = recipe.learning_rate * math.exp(drawn.uniform(-1, 1) * math.log(RATE_SPAN))
        epochs = max(1, round(recipe.epochs * drawn.choice(EPOCH_FACTORS)))
        yield Candidate(float(f"{rate:.2g}"), epochs)


def search(options: TrainOptions, count: int, console: Console | None = None) -> TrainResult | None:
    """Train `count` candidates in OUTPUT/search and keep the best, by the metric that chooses checkpoints.

    What is returned, written to OUTPUT and published is the best one's; OUTPUT/search.json lists all. With
    `options.resume` the candidates that are finished are not trained again. None on every process of a distributed
    training but the first. Raises as service.train.pipeline.train does.
    """
    if count < 1:
        raise TrainingError(f"--search {count}: at least 1 training")
    check_folder(options)
    console = console or Console(stderr=True, emoji=False)
    tried: list[tuple[Candidate, TrainResult]] = []
    main = True
    for number, candidate in zip(range(1, count + 1), candidates(options), strict=False):
        console.print(
            f"search {number} of {count}: learning rate {candidate.learning_rate:g}, {candidate.epochs} epochs",
            highlight=False,
        )
        result = train(_options_of(options, candidate, number), console)
        if result is None:
            main = False
        else:
            tried.append((candidate, result))
    if not main:
        return None
    best, result = max(tried, key=lambda pair: pair[1].metrics[pair[1].metric])
    console.print(
        f"best of {count}: learning rate {best.learning_rate:g}, {best.epochs} epochs", highlight=False, soft_wrap=True
    )
    return _keep(options, result, tried)


def _options_of(options: TrainOptions, candidate: Candidate, number: int) -> TrainOptions:
    return replace(
        options,
        output=options.output / SEARCH_FOLDER / f"{number:02}",
        overrides=replace(options.overrides, learning_rate=candidate.learning_rate, epochs=candidate.epochs),
        target=Target(),
    )


def _keep(options: TrainOptions, best: TrainResult, tried: list[tuple[Candidate, TrainResult]]) -> TrainResult:
    """The best one's files to OUTPUT, the adapter last; and publish it."""
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
    write_atomically(options.output / SEARCH_FILE, json.dumps(lines, indent=2).encode())
    number = next(index for index, (_, result) in enumerate(tried, start=1) if result is best)
    folder = options.output / SEARCH_FOLDER / f"{number:02}"
    for name in (PLAN_FILE, REPORT_FILE, RESULT_FILE, ADAPTER_FILE):
        if (folder / name).exists():
            write_atomically(options.output / name, (folder / name).read_bytes())
    report = options.output / REPORT_FILE if best.report else None
    if best.path is None:
        return replace(best, report=report)
    path = options.output / ADAPTER_FILE
    publication = publish(options.target, options.task, path.read_bytes(), path)
    return replace(best, path=path, report=report, publication=publication)
