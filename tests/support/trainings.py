"""Trainings on a tiny backbone: generated rows, quick options, and the stored adapter."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from adapters import checkpoint
from adapters.adapter import Adapter
from service.train import pipeline
from service.train.options import TrainOptions
from service.train.result import TrainResult

GOOD = ("good", "great", "lovely", "superb")
BAD = ("bad", "awful", "dull", "boring")
COLOURS = ("red", "green", "blue")
FAST: dict[str, Any] = {
    "initialisation": "identity",
    "learning_rate": 2e-2,
    "epochs": 8,
    "batch_size": 16,
    "patience": 8,
    "max_length": 32,
    "pooling": "mean",
}
Row = dict[str, Any]


def sentiment(drawn: random.Random) -> Row:
    """One of two classes, decided by one word."""
    label = drawn.choice(["negative", "positive"])
    word = drawn.choice(GOOD if label == "positive" else BAD)
    return {
        "text": " ".join(
            ["the", drawn.choice(["film", "story", "plot"]), "is"] + ["very"] * drawn.randint(0, 4) + [word]
        ),
        "label": label,
    }


def unsure(drawn: random.Random) -> Row:
    """A row of `sentiment`; a quarter of the rows have any label."""
    row = sentiment(drawn)
    return row if drawn.random() < 0.75 else row | {"label": drawn.choice(["negative", "positive"])}


def colours(drawn: random.Random) -> Row:
    """Any of three labels."""
    chosen = [colour for colour in COLOURS if drawn.random() < 0.5]
    return {"text": " ".join(["the", *chosen, "house"]), "labels": chosen}


def warmth(drawn: random.Random) -> Row:
    """A number from 0 to 100, decided by the number of good words."""
    count = drawn.randint(0, 4)
    return {"sentence": " ".join(["it", *["great"] * count, *["dull"] * (4 - count)]), "score": 25.0 * count}


def same_animal(drawn: random.Random) -> Row:
    """Two texts, and whether the second is about a dog."""
    first, second = drawn.choice(["cat", "dog"]), drawn.choice(["cat", "dog"])
    label = "dog" if second == "dog" else "other"
    return {"sentence1": f"a {first} runs", "sentence2": f"the {second} sleeps", "label": label}


def write_rows(path: Path, make: Callable[[random.Random], Row], count: int, seed: int) -> str:
    """A JSON Lines file of `count` rows."""
    drawn = random.Random(seed)
    path.write_text("".join(json.dumps(make(drawn)) + "\n" for _ in range(count)))
    return str(path)


def make_options(folder: Path, backbone: Path) -> TrainOptions:
    """A training of two seconds, with its data and its output in `folder`."""
    return TrainOptions.of(
        task="sentiment",
        train=write_rows(folder / "train.jsonl", sentiment, 160, seed=0),
        validation=write_rows(folder / "validation.jsonl", sentiment, 60, seed=1),
        output=folder / "run",
        bottleneck=16,
        **FAST,
        device="cpu",
        backbone=str(backbone),
    )


def train(options: TrainOptions) -> TrainResult:
    """Train without output."""
    result = pipeline.train(options, Console(quiet=True))
    assert result is not None
    return result


def read(result: TrainResult) -> Adapter:
    """The adapter that a training stored."""
    return checkpoint.parse(result.path.read_bytes())
