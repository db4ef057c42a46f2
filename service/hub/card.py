"""The model card of an adapter: README.md on the Hub, with metadata that the Hub reads, and `pull` too."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from pydantic import JsonValue

from service.hub.markdown import literal, table

if TYPE_CHECKING:  # it imports torch, and what reads a card needs none
    from adapters.adapter import Adapter

ADAPTER_FILE = "adapter.safetensors"
SECTION = "adakron"  # of the metadata: what `pull` reads
MAX_ROWS = 64  # of a table of what the trainer wrote
_TAGS = ("adakron", "adapter", "bert")
_TAKES = {False: "a text", True: "a pair of texts"}
_GIVES = {
    "single_label": "one of its labels",
    "multi_label": "any number of its labels",
    "regression": "a number",
}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_CALIBRATION = ("ece", "nll")


def make_card(adapter: "Adapter", task: str, repo: str, *, licence: str | None = None) -> str:
    """README.md for `adapter`, to be published as `task` from the repository `repo`."""
    content = f"---\n{_metadata(adapter, task, licence).to_yaml()}\n---\n\n{_text(adapter, task, repo)}"
    return str(ModelCard(content))


def stated_digest(card: str) -> str | None:
    """The SHA-256 that a card gives for its adapter file; None where it gives none, or is no card of ours."""
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
            dataset_type=data.split(":")[0] if "/" in data else "custom",  # a data set of the Hub, or a file
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
    """The backbone's name where the Hub may know it: not that of a folder."""
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
        f"adakron pull {repo} --task {task}      # checks the file, and publishes it on a running server\n"
        f"curl -s localhost:8000/v1/{task}/predict -H 'Content-Type: application/json' -d '{{\"inputs\": {inputs}}}'\n"
        "```",
        f"`adakron pull {repo}` writes the file instead. Both refuse what is not the file below, "
        "or was made for another backbone.",
    ]
    parts += _metrics(adapter)
    rows = list(_flat(config.training))
    if rows:
        parts += ["## Training", table(("", "value"), rows[:MAX_ROWS])]
    parts += ["## File", table(("", "value"), _file_rows(adapter))]
    if config.examples:
        parts.append(
            f"The file holds {len(config.examples)} texts of the validation data with their logits: "
            "a server computes them again before it serves the file."
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
