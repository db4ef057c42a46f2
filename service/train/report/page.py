"""report.html: one file that shows a training and its result, without scripts and without other files or addresses."""

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from adapters.adapter import AdapterMetadata
from service.train.data.split import Split
from service.train.evaluation.analysis import Analysis, Mistake
from service.train.evaluation.comparison import Comparison
from service.train.recipes import WITHOUT_BOTTLENECK
from service.train.report.curves import Curves, make_charts

MAX_MATRIX = 20  # classes; with more, the page lists the pairs confused most often
MAX_PAIRS = 20
MAX_CHARS = 600  # of a text

Facts = list[tuple[str, str]]  # (name, value)


@dataclass(frozen=True)
class MistakeRow:
    """A mistake with its row of the file."""

    place: str
    texts: tuple[str, ...]
    mistake: Mistake


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix."""

    count: int
    share: float  # of the rows with this truth
    right: bool


def render_report(
    task: str,
    metric: str,
    metadata: AdapterMetadata,
    num_parameters: int,
    validation: Split,
    curves: Curves,
    analysis: Analysis,
    comparison: Comparison | None = None,
) -> str:
    """Render the page; `metric` chose the best checkpoint, `num_parameters` is the number of trained ones.

    `comparison` sets the score beside that of the probe.
    """
    # autoescape: labels, texts and file names come from the data
    environment = Environment(
        loader=PackageLoader("service.train.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        task=task,
        spec=metadata.task,
        metrics=sorted(metadata.metrics.items(), key=lambda item: item[0] != metric),
        facts=make_facts(metadata, num_parameters),
        charts=make_charts(metric, curves, analysis),
        best_step=curves.best_step,
        best_epoch=curves.epochs.get(curves.best_step or 0),
        analysis=analysis,
        comparison=comparison,
        matrix=_matrix(analysis) if len(analysis.confusion) <= MAX_MATRIX else [],
        confused=analysis.most_confused(MAX_PAIRS),
        validation=validation.name,
        mistakes=[_mistake_row(item, validation) for item in analysis.mistakes],
    )


def make_facts(metadata: AdapterMetadata, num_parameters: int) -> dict[str, Facts]:
    """The tables of the adapter file's metadata: data, model, training and versions."""
    training: dict[str, Any] = dict(metadata.training)
    data, hyper_parameters, versions = (training.pop(name, {}) for name in ("data", "hyper_parameters", "versions"))
    task, backbone = metadata.task, metadata.backbone
    shape = [
        ("bottleneck", f"{metadata.bottleneck} = {metadata.p} * {metadata.q}"),
        ("layers", f"{len(metadata.layers)} of {backbone.num_layers}"),
    ]
    return {
        "Data": [(f"{name}, {key}", _show(value)) for name, split in data.items() for key, value in split.items()],
        "Model": [
            ("backbone", backbone.name),
            ("backbone's SHA-256", backbone.weights_sha256),
            *(() if training.get("method") in WITHOUT_BOTTLENECK else shape),
            ("parameters", f"{num_parameters:,}"),
            ("pooling", task.pooling),
            ("temperature", f"{task.temperature:.4g}"),
            ("input", f"{'pairs of texts' if task.pair else 'texts'}, at most {task.max_length} tokens"),
        ],
        "Training": [(_words(key), _show(value)) for key, value in (training | hyper_parameters).items()],
        "Versions": [(key, _show(value)) for key, value in versions.items()],
    }


def _words(key: str) -> str:
    return (f"{key[:-2]} (s)" if key.endswith("_s") else key).replace("_", " ")


def _show(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else _cut(str(value))


def _matrix(analysis: Analysis) -> list[list[Cell]]:
    return [
        [Cell(count, count / max(1, sum(row)), i == j) for j, count in enumerate(row)]
        for i, row in enumerate(analysis.confusion.tolist())
    ]


def _mistake_row(mistake: Mistake, validation: Split) -> MistakeRow:
    inputs = validation.inputs[mistake.row]
    texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    place = f"{validation.unit} {validation.numbers[mistake.row]:,}"
    return MistakeRow(place, tuple(_cut(text) for text in texts), mistake)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]} ..."
