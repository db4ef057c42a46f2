"""Findings on a terminal: a line a fact, a table of the labels, a line a warning."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.errors import make_printable
from service.train.check.findings import Findings, LabelFindings, PartFindings
from service.train.timing import clock

MAX_LABELS = 20  # that are all shown
NUM_SHOWN = 10  # of more, the most frequent and as many of the rarest


def print_findings(console: Console, findings: Findings) -> None:
    """What the training would make of its data."""
    columns = [f"text {findings.text_column}", f"label {', '.join(findings.label_columns)}"]
    if findings.pair_column:
        columns.insert(1, f"second text {findings.pair_column}")
    source = "held out of the training data" if findings.held_out else findings.validation.name
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
            f"about {clock(estimate.seconds)} for {epochs} of {train.rows:,} rows, less where it stops "
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
    cut = f"{part.cut:,} inputs are cut" if part.cut else "none is cut"
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
