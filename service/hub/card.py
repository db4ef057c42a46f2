"""The model card of an adapter: README.md on the Hub, with metadata for the Hub and for `pull`."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from pydantic import JsonValue

if TYPE_CHECKING:  # it imports torch, which reading a card does not need
    from adapters.adapter import Adapter

ADAPTER_FILE = "adapter.safetensors"
SECTION = "adakron"  # of the metadata: what `pull` reads
MAX_ROWS = 64  # of the training table
_TAGS = ("adakron", "adapter", "bert")
_TAKES = {False: "a text", True: "a pair of texts"}
_GIVES = {
    "single_label": "one of its labels",
    "multi_label": "any number of its labels",
    "regression": "a number",
}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
MAX_CHARS = 200
_PLAIN = re.compile(r"[^\W_]|[ ,=+()'/%?-]|(?<=[^\W_])_(?=[^\W_])|(?<!www)\.", re.IGNORECASE)  # cannot begin markup
_CALIBRATION = ("ece", "nll")


def make_card(adapter: "Adapter", task: str, repo: str, *, licence: str | None = None) -> str:
    """Write the card for `adapter`, to be published as `task` from the repository `repo`."""
    content = f"---\n{_metadata(adapter, task, licence).to_yaml()}\n---\n\n{_text(adapter, task, repo)}"
    return str(ModelCard(content))


def stated_digest(card: str) -> str | None:
    """Return the SHA-256 that a card states for its adapter file; None if it states none."""
    try:
        stated = ModelCard(card, ignore_metadata_errors=True).data.get(SECTION)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None
    digest = stated.get("sha256") if isinstance(stated, dict) else None
    return digest if isinstance(digest, str) else None


def _metadata(adapter: "Adapter", task: str, licence: str | None) -> ModelCardData:
    config = adapter.metadata
    base = _hub_name(config.backbone.name)
    ours: dict[str, Any] = {
        "base_model_relation": "adapter" if base else None,
        SECTION: {"task": task, "file": ADAPTER_FILE, "sha256": adapter.digest},
    }
    return ModelCardData(
        base_model=base,
        library_name="adakron",
        license=licence,
        pipeline_tag="text-classification",
        tags=[*_TAGS, config.task.type.replace("_", "-")],
        model_name=task,
        eval_results=_results(adapter, task) or None,
        **ours,
    )


def _results(adapter: "Adapter", task: str) -> list[EvalResult]:
    data = _validation_name(adapter.metadata.training)
    return [
        EvalResult(
            task_type="text-classification",
            task_name=task,
            dataset_type=data.split(":")[0] if "/" in data else "custom",  # a data set on the Hub, or a file
            dataset_name=data,
            dataset_split="validation",
            metric_type=name,
            metric_value=value,
        )
        for name, value in sorted(adapter.metadata.metrics.items())
    ]


def _validation_name(training: Mapping[str, JsonValue]) -> str:
    match training:
        case {"data": {"validation": {"name": str(name)}}} if name:
            return name
    return "validation data"


def _hub_name(name: str) -> str | None:
    """Return the backbone's name if it may be one on the Hub, and not a local folder."""
    return name if _HUB_NAME.fullmatch(name) and not Path(name).exists() else None


def _text(adapter: "Adapter", task: str, repo: str) -> str:
    config, spec = adapter.metadata, adapter.metadata.task
    parts = [
        f"# {literal(task)}",
        "An adapter of AdaKron Serve ([Braga, Raganato and Pasi 2024](https://aclanthology.org/2024.lrec-main.32/)): "
        f"{config.num_parameters:,} parameters in {len(config.layers)} layers of a frozen BERT, and a linear head. "
        f"It takes {_TAKES[spec.pair]}, at most {spec.max_length} tokens, and answers with {_GIVES[spec.type]}.",
    ]
    if spec.labels:
        parts += ["## Labels", table(("", "label"), enumerate(spec.labels))]
    example = '["one text", "another text"]' if spec.pair else '"a text"'
    inputs = f"[{example}]" if spec.pair else example
    parts += [
        "## Use",
        "```sh\n"
        f"adakron pull {repo} --task {task}      # checks the file and publishes it on a running server\n"
        f"curl -s localhost:8000/v1/{task}/predict -H 'Content-Type: application/json' -d '{{\"inputs\": {inputs}}}'\n"
        "```",
        "Without `--task` the command writes the file. Both reject a file other than the one below, "
        "or one trained for another backbone.",
    ]
    parts += _metrics(adapter)
    rows = list(_flat(config.training))
    if rows:
        parts += ["## Training", table(("", "value"), rows[:MAX_ROWS])]
    parts += ["## File", table(("", "value"), _file_rows(adapter))]
    if config.examples:
        parts.append(
            f"The file holds {len(config.examples)} texts of the validation data with their logits; "
            "a server recomputes these logits before it serves the file."
        )
    return "\n\n".join(parts) + "\n"


def _metrics(adapter: "Adapter") -> list[str]:
    metrics = dict(sorted(adapter.metadata.metrics.items()))
    pairs = {name: f"{name}_uncalibrated" for name in _CALIBRATION if {name, f"{name}_uncalibrated"} <= set(metrics)}
    plain = [(name, f"{value:.4f}") for name, value in metrics.items() if name not in {*pairs, *pairs.values()}]
    parts = []
    if plain:
        of = literal(_validation_name(adapter.metadata.training))
        parts += ["## Metrics", f"On {of}.", table(("metric", "value"), plain)]
    if pairs:
        rows = [(name, f"{metrics[before]:.4f}", f"{metrics[name]:.4f}") for name, before in pairs.items()]
        parts += [
            "## Calibration",
            f"Logits are divided by the temperature {adapter.metadata.task.temperature:g}. "
            "`ece` is the expected calibration error, `nll` the mean negative log likelihood in nats, cross-fitted.",
            table(("", "before", "after"), rows),
        ]
    return parts


def _file_rows(adapter: "Adapter") -> list[tuple[str, str]]:
    backbone = adapter.metadata.backbone
    return [
        ("file", ADAPTER_FILE),
        ("SHA-256", adapter.digest),
        ("bottleneck", f"{adapter.metadata.bottleneck} = p {adapter.metadata.p} x q {adapter.metadata.q}"),
        ("pooling", adapter.metadata.task.pooling),
        ("backbone", backbone.name),
        ("SHA-256 of the backbone's model.safetensors", backbone.weights_sha256),
        ("SHA-256 of the backbone's tokenizer.json", backbone.tokenizer_sha256),
    ]


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for key, value in sorted(values.items()):
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif value is not None:
            yield f"{before}{key}", value


def literal(value: object) -> str:
    """Escape `value` so that Markdown and HTML show it unchanged, in a sentence or in the cell of a table.

    Each character that could begin markup, a link or a mention becomes a character reference.
    """
    text = str(value)
    text = text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return "".join(char if _PLAIN.match(text, place) else f"&#{ord(char)};" for place, char in enumerate(text))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table; the cells are escaped, the heads are not."""
    lines = [heads, ["---"] * len(heads), *([literal(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
