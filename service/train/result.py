"""TrainResult: the result of a training, and its summary on the terminal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.errors import make_printable
from service.train.evaluation.analysis import Analysis
from service.train.evaluation.comparison import Comparison
from service.train.fit.timing import clock
from service.train.options import MetricName
from service.train.publish import Publication
from service.train.recipes import Method
from service.train.report.figures import print_figures


@dataclass(frozen=True)
class TrainResult:
    """The result of a training; its numbers are those of result.json beside the adapter file."""

    task: str
    method: Method
    metric: MetricName  # chose the best checkpoint
    metrics: Mapping[str, float]  # of the best checkpoint as stored, on the validation data
    num_parameters: int  # trained ones without the head; for a mixture, those of the merged adapter
    num_backbone_parameters: int
    epochs: float  # trained epochs; early stopping may reduce them
    duration_s: float  # of the last process, if the training was resumed
    path: Path | None  # of the adapter file; None if the method makes no adapter
    digest: str | None = None  # its SHA-256
    publication: Publication | None = None
    report: Path | None = None
    comparison: Comparison | None = None  # with the probe; None for the method `head`, which is the probe
    analysis: Analysis | None = field(default=None, compare=False)  # None if --resume had nothing to train


def print_summary(console: Console, result: TrainResult) -> None:
    """Print scores, size, files, and the next command."""
    if result.analysis:
        print_figures(console, result.analysis)
    table = Table(title=f"{result.task}, {result.method}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in sorted(result.metrics.items(), key=lambda item: item[0] != result.metric):
        table.add_row(name, f"{value:.4f}")
    share = 100 * result.num_parameters / result.num_backbone_parameters
    table.add_row("parameters", f"{result.num_parameters:,} ({share:.2f} % of the backbone)")
    if result.path:
        table.add_row("size", f"{result.path.stat().st_size / 1e6:.2f} MB")
    table.add_row("trained", f"{clock(result.duration_s)}, epochs: {result.epochs:g}")
    if result.publication:
        live = ", live" if result.publication.activated else ""
        table.add_row("published", Text(f"version {result.publication.version} in {result.publication.where}{live}"))
        if result.publication.changes:
            table.add_row("changes", Text("; ".join(result.publication.changes)))
    console.print(table)
    findings = result.comparison.findings() if result.comparison else []
    lines = [result.comparison.describe(), *findings] if result.comparison else []
    for line in lines:
        console.print(make_printable(line), highlight=False, markup=False, soft_wrap=True)
    # outside of the table, which would wrap them: users copy these lines
    for caption, copied in (("file", result.path), ("SHA-256", result.digest), ("report", result.report)):
        if copied:
            console.print(f"{caption:8}{copied}", highlight=False, markup=False, soft_wrap=True)
    if result.path is None:
        next_command = f"A {result.method} model is for comparison, and cannot be published."
    elif result.publication is None:
        proposed = "Publish it nevertheless" if findings else "Publish it"
        next_command = f"{proposed}:  adakron push {result.task} {result.path}"
    else:
        next_command = f'Try it:  adakron predict {result.task} "..."'
    console.print(next_command, highlight=False, markup=False, soft_wrap=True)
