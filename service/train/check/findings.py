"""Findings: what a check of the data and options of a training found."""

from dataclasses import asdict, dataclass

import numpy as np
from pydantic import JsonValue

from adapters.config import TaskType
from service.train.lengths import Lengths


@dataclass(frozen=True)
class PartFindings:
    """The rows to train on, or those to validate."""

    name: str  # of the file, and which part of it
    rows: int
    median_tokens: int  # of an input, special tokens included
    longest_tokens: int
    cut: int  # inputs with more than --max-length tokens

    @classmethod
    def of(cls, lengths: Lengths) -> "PartFindings":
        """The figures of a split."""
        tokens = lengths.tokens
        return cls(lengths.name, len(tokens), int(np.median(tokens)), int(tokens.max()), lengths.num_cut)


@dataclass(frozen=True)
class LabelFindings:
    """Rows of one class, or with one label."""

    name: str
    train: int
    validation: int


@dataclass(frozen=True)
class NumberFindings:
    """The targets of a regression, in the rows to train on."""

    least: float
    mean: float
    greatest: float


@dataclass(frozen=True)
class Estimate:
    """How long the training would take, if it went through all its epochs."""

    seconds: float
    epochs: int
    steps: int
    batches: int  # that were measured
    device: str
    threads: int  # of PyTorch, on a CPU


@dataclass(frozen=True)
class Findings:
    """What a training would make of its data, and what is wrong with them."""

    task: str
    type: TaskType
    because: str  # it has this type
    text_column: str
    pair_column: str | None
    label_columns: tuple[str, ...]
    held_out: bool  # the validation rows are taken from the training data
    train: PartFindings
    validation: PartFindings
    labels: tuple[LabelFindings, ...]  # in the order of the logits; none of a regression
    numbers: NumberFindings | None  # of a regression
    max_length: int
    batch_size: int
    estimate: Estimate
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, JsonValue]:
        """The same for programs."""
        return asdict(self)
