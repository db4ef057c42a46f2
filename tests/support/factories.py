"""Small adapter files for tests: valid in every respect, random in their weights."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from adapters import checkpoint
from adapters.adapter import Adapter, AdapterMetadata, GoldenExample
from adapters.backbone.text_encoder import TextInput
from adapters.config import (
    GATE_KEYS,
    GATE_MEAN,
    GATE_TABLE,
    BackboneIdentity,
    GatesConfig,
    Pooling,
    SpecialTokens,
    TaskSpec,
    TaskType,
    TrainedTruncation,
)
from adapters.gates import GatedAdapter


def tiny_identity() -> BackboneIdentity:
    """A backbone that does not exist, small."""
    return BackboneIdentity(
        name="tiny", hidden_size=32, num_layers=2, weights_sha256="0" * 64, tokenizer_sha256="0" * 64
    )


def make_adapter_bytes(
    *,
    identity: BackboneIdentity | None = None,
    type: TaskType = "single_label",
    labels: Sequence[str] = ("negative", "positive"),
    pair: bool = False,
    p: int = 3,
    q: int = 4,
    layers: Sequence[int] = (0, 1),
    pooling: Pooling = "mean",
    max_length: int = 64,
    temperature: float = 1.0,
    truncation: TrainedTruncation = "right",
    special_tokens: SpecialTokens = "obeyed",
    format_version: Literal[1, 2] = 2,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    examples: Sequence[TextInput] = (),
) -> bytes:
    """An adapter file; another `seed` gives other weights, so another digest. The logits of `examples` are zeros."""
    task = TaskSpec(
        type=type,
        labels=tuple(labels),
        pair=pair,
        pooling=pooling,
        max_length=max_length,
        temperature=temperature,
        truncation=truncation,
        special_tokens=special_tokens,
    )
    golden = tuple(GoldenExample(inputs=inputs, logits=(0.0,) * task.num_outputs) for inputs in examples)
    metadata = AdapterMetadata(
        format_version=format_version,
        backbone=identity or tiny_identity(),
        p=p,
        q=q,
        layers=tuple(layers),
        task=task,
        examples=golden,
    )
    generator = torch.Generator().manual_seed(seed)
    shapes = metadata.tensor_shapes()
    tensors = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return checkpoint.serialize(metadata, tensors, dtype)


def make_adapter(**options: object) -> Adapter:
    """Make an adapter file with these options, and parse it."""
    return checkpoint.parse_plain(make_adapter_bytes(**options))  # type: ignore[arg-type]


def make_gated_bytes(
    *,
    identity: BackboneIdentity | None = None,
    keys: Sequence[str] = ("u1", "u2", "u3"),
    field: str = "user",
    num_experts: int = 4,
    labels: Sequence[str] = ("negative", "positive"),
    p: int = 3,
    q: int = 4,
    layers: Sequence[int] = (0, 1),
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> bytes:
    """A gated file with a random gate for each of `keys`; another `seed` gives other weights and gates."""
    metadata = AdapterMetadata(
        format_version=3,
        backbone=identity or tiny_identity(),
        p=p,
        q=q,
        layers=tuple(layers),
        task=TaskSpec(type="single_label", labels=tuple(labels), pair=False, pooling="mean", max_length=64),
        gates=GatesConfig(field=field, num_experts=num_experts, salt="5a" * 16),
    )
    assert metadata.gates is not None
    generator = torch.Generator().manual_seed(seed)
    shapes = metadata.gated_tensor_shapes(len(keys))
    tensors = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    logits = torch.randn(shapes[GATE_TABLE], generator=generator)
    tensors[GATE_TABLE] = logits.mul(2).softmax(-1)
    tensors[GATE_MEAN] = tensors[GATE_TABLE].mean(0)
    digests = sorted(metadata.gates.digest(key) for key in keys)
    tensors[GATE_KEYS] = torch.from_numpy(np.frombuffer(b"".join(digests), np.uint8).reshape(len(keys), -1).copy())
    return checkpoint.serialize(metadata, tensors, dtype)


def make_gated(**options: object) -> GatedAdapter:
    """Make a gated file with these options, and parse it."""
    adapter = checkpoint.parse(make_gated_bytes(**options))  # type: ignore[arg-type]
    assert isinstance(adapter, GatedAdapter)
    return adapter
