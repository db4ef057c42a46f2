"""`adakron inspect`: an adapter file, without a server."""

import json
from typing import TYPE_CHECKING

from service.commands.options import AdapterFile
from service.commands.terminal import console, fail
from service.errors import make_printable

if TYPE_CHECKING:
    from adapters.gates import Gates

_SPECIAL_TOKENS = {"obeyed": "special tokens", "text": "plain text"}


def inspect(file: AdapterFile) -> None:
    """Check an adapter file and print its metadata."""
    from adapters import checkpoint  # imports torch
    from adapters.errors import CheckpointError
    from adapters.gates import GatedAdapter

    try:
        adapter = checkpoint.parse(file.read_bytes())
    except CheckpointError as error:
        fail(f"{file}: refused ({error.reason}): {error}")
    config, task = adapter.metadata, adapter.metadata.task
    rows = {
        "file": f"{file} ({file.stat().st_size:,} bytes, {next(iter(adapter.tensors.values())).dtype})",
        "digest": adapter.digest,
        "parameters": f"{config.num_parameters:,} in adapters, {config.num_head_parameters:,} in the head",
        "bottleneck": f"{config.bottleneck} = p {config.p} x q {config.q}",
        "layers": ", ".join(map(str, config.layers)),
        "backbone": f"{config.backbone.name} (weights {config.backbone.weights_sha256[:12]})",
        "task": f"{task.type}, {'pairs of texts' if task.pair else 'single texts'}, at most {task.max_length} tokens",
        "truncation": task.truncation,
        "special": f"[SEP], [MASK] etc. in a text are {_SPECIAL_TOKENS[task.special_tokens]}",
        "labels": ", ".join(task.labels) or "-",
        "pooling": task.pooling,
        "gates": _describe(adapter.gates) if isinstance(adapter, GatedAdapter) else "-",
        "temperature": f"{task.temperature:g}",
        "metrics": ", ".join(f"{name} {value:.4f}" for name, value in config.metrics.items()) or "-",
        "examples": str(len(config.examples)),
        "training": json.dumps(config.training, indent=2, sort_keys=True),
    }
    for name, value in rows.items():
        console.print(f"[bold]{name:12}[/bold]", end="")
        console.print(
            value if name == "training" else make_printable(value), markup=False, highlight=False, soft_wrap=True
        )


def _describe(gates: "Gates") -> str:
    return f"{len(gates.digests):,} keys by {gates.config.field}, {gates.config.num_experts} experts"
