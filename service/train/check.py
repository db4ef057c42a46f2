"""`adakron train --check`: everything that a training reads, checks and warns of, and an estimate of its time."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.config import TaskType
from service.errors import make_printable
from service.train.data.folds import ALWAYS_TRAINED
from service.train.data.load import TaskData
from service.train.data.split import count_labels
from service.train.fit.estimate import Estimate, estimate_time
from service.train.fit.lengths import Lengths, describe_lengths, measure_lengths
from service.train.fit.timing import clock
from service.train.options import TrainOptions
from service.train.prepare import assemble, encode, make_model, prepare

MAX_LABELS = 20  # of a complete table
NUM_SHOWN = 10  # of more labels, the most frequent ones and the rarest ones


@dataclass(frozen=True)
class PartFindings:
    """The training rows, or the validation rows."""

    name: str  # of the file and its part
    rows: int
    median_tokens: int  # of an input, special tokens included
    longest_tokens: int
    cut: int  # inputs with more than --max-length tokens

    @classmethod
    def of(cls, lengths: Lengths) -> "PartFindings":
        """Summarise the lengths of a split."""
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
    """The range of a regression's training targets."""

    least: float
    mean: float
    greatest: float


@dataclass(frozen=True)
class Findings:
    """The findings of a check: how a training would read its data, its time, and the warnings."""

    task: str
    type: TaskType
    because: str  # the reason for the type
    text_column: str
    pair_column: str | None
    label_columns: tuple[str, ...]
    held_out: bool  # the validation rows are taken from the training data
    cross_validated: bool  # they are training rows
    train: PartFindings
    validation: PartFindings
    labels: tuple[LabelFindings, ...]  # in the order of the logits; empty for a regression
    numbers: NumberFindings | None  # for a regression
    max_length: int
    batch_size: int
    estimate: Estimate
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, JsonValue]:
        """Convert to JSON."""
        return asdict(self)


def examine(options: TrainOptions) -> Findings:
    """Check the options and data of a training without training and without writing anything.

    Raises TrainingError or adapters.errors.AdapterError if the training would be refused.
    """
    options, data, _ = prepare(options, cross_validate=True)
    fit = options.fit
    setup = assemble(options, data, "cuda" if fit.device != "cpu" and torch.cuda.is_available() else "cpu")
    loaded, task = setup.loaded, setup.config.task
    splits = (data.train, data.validation)
    rows = [encode(split, setup) for split in splits]
    lengths = [
        measure_lengths(split, encoded.encodings, loaded.encoder, task)
        for split, encoded in zip(splits, rows, strict=True)
    ]
    train, validation = (PartFindings.of(item) for item in lengths)
    num_trainings = len(set(data.folds) - {ALWAYS_TRAINED}) or 1
    roles = data.roles
    return Findings(
        task=options.task,
        type=data.scheme.type,
        because=data.because,
        text_column=roles.text,
        pair_column=roles.pair,
        label_columns=roles.labels or (roles.label,),
        held_out=data.held_out,
        cross_validated=bool(data.folds),
        train=train,
        validation=validation,
        labels=_count(data),
        numbers=_describe_numbers(data),
        max_length=task.max_length,
        batch_size=fit.hyper_parameters.batch_size,
        estimate=estimate_time(
            fit, make_model(fit, setup.config, loaded, setup.keys), setup.codec, rows[0], rows[1], num_trainings
        ),
        warnings=(
            *data.warnings,
            *describe_lengths(lengths[0], loaded.identity.hidden_size, loaded.backbone.max_positions),
        ),
    )


def _count(data: TaskData) -> tuple[LabelFindings, ...]:
    names = data.scheme.names
    if not names:
        return ()
    counts = (count_labels(part.targets, len(names)).tolist() for part in (data.train, data.validation))
    return tuple(LabelFindings(*item) for item in zip(names, *counts, strict=True))


def _describe_numbers(data: TaskData) -> NumberFindings | None:
    if data.scheme.type != "regression":
        return None
    values = np.array(data.train.targets, dtype=np.float64)
    return NumberFindings(float(values.min()), float(values.mean()), float(values.max()))


def print_findings(console: Console, findings: Findings) -> None:
    """Print a line per fact, a table of the labels, and a line per warning."""
    columns = [f"text {findings.text_column}", f"label {', '.join(findings.label_columns)}"]
    if findings.pair_column:
        columns.insert(1, f"second text {findings.pair_column}")
    source = "held out of the training data" if findings.held_out else findings.validation.name
    source = "all by cross-validation" if findings.cross_validated else source
    train, validation, estimate = findings.train, findings.validation, findings.estimate
    machine = (
        "GPU"
        if estimate.device == "cuda"
        else f"CPU with {estimate.threads} thread{'' if estimate.threads == 1 else 's'}"
    )
    epochs = f"{estimate.epochs} epoch{'' if estimate.epochs == 1 else 's'}"
    facts = [
        ("task", findings.task),
        ("type", f"{findings.type}: {findings.because}"),
        ("columns", "; ".join(columns)),
        ("rows", f"{train.rows:,} to train on, {validation.rows:,} to validate ({source})"),
        ("tokens", f"{_tokens(train)}; validation {_tokens(validation)}; --max-length {findings.max_length}"),
        (
            "time",
            f"about {clock(estimate.seconds)} for {epochs} of {train.rows:,} rows, less if it stops "
            f"early; from {estimate.batches} batches of {findings.batch_size} on this {machine}",
        ),
    ]
    if findings.numbers:
        numbers = findings.numbers
        facts.insert(2, ("numbers", f"{numbers.least:g} to {numbers.greatest:g}, {numbers.mean:g} on average"))
    for name, value in facts:
        console.print(make_printable(f"{name:9}{value}"), markup=False, highlight=False, soft_wrap=True)
    if findings.labels:
        console.print(_make_table(findings))
    for warning in findings.warnings:
        console.print(make_printable(f"warning: {warning}"), markup=False, highlight=False, soft_wrap=True)
    count = len(findings.warnings)
    console.print(
        f"{count or 'no'} warning{'' if count == 1 else 's'}; nothing was trained, and nothing was written",
        highlight=False,
        soft_wrap=True,
    )


def _tokens(part: PartFindings) -> str:
    cut = f"{part.cut:,} inputs are cut" if part.cut else "no input is cut"
    return f"{part.median_tokens:,} in the median, {part.longest_tokens:,} at most, {cut}"


def _make_table(findings: Findings) -> Table:
    shown: list[LabelFindings | None] = list(findings.labels)
    if len(shown) > MAX_LABELS:
        frequent = sorted(findings.labels, key=lambda item: -item.train)
        shown = [*frequent[:NUM_SHOWN], None, *frequent[-NUM_SHOWN:]]
    table = Table()
    table.add_column("class" if findings.type == "single_label" else "label", overflow="fold")
    table.add_column("train", justify="right")
    table.add_column("validation", justify="right")
    for item in shown:
        if item is None:
            table.add_row(f"... {len(findings.labels) - 2 * NUM_SHOWN:,} more", "", "")
        else:
            table.add_row(Text(item.name), f"{item.train:,}", f"{item.validation:,}")
    return table
