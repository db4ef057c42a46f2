"""TrainResult: what came out of a training. Its numbers lie beside the adapter file, as result.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.train.analysis import Analysis
from service.train.errors import TrainingError
from service.train.options import MetricName
from service.train.publish import Publication
from service.train.recipes import Method
from service.train.resume import RESULT_FILE


@dataclass(frozen=True)
class TrainResult:
    """What came out of a training."""

    task: str
    method: Method
    metric: MetricName  # that the best checkpoint was chosen by
    metrics: Mapping[str, float]  # of the best checkpoint, as stored, on the validation data
    num_parameters: int  # that learnt, of a mixture those of the merged adapter; without the head
    num_backbone_parameters: int
    epochs: float  # trained; early stopping may end it before the recipe's
    duration_s: float  # of the last process, where a training was resumed
    path: Path | None  # of the adapter file; None for a method that makes none
    digest: str | None = None  # its SHA-256
    publication: Publication | None = None
    report: Path | None = None
    analysis: Analysis | None = field(default=None, compare=False)  # None where --resume had nothing to train


def read_numbers(folder: Path) -> dict[str, Any]:
    """What a finished training left in result.json. Raises TrainingError where it is missing or damaged."""
    path = folder / RESULT_FILE
    try:
        numbers: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise TrainingError(f"{path} is missing or damaged: train anew in another --output") from None
    return numbers
