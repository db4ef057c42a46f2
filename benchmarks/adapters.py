"""Adapters for the benchmarks: random ones of the paper's size, and variants of a shipped one."""

from pathlib import Path

import torch

from adapters import checkpoint
from adapters.adapter import Adapter, AdapterMetadata
from adapters.config import BackboneIdentity, TaskSpec

LABELS = ("no", "yes")
SHIPPED = Path(__file__).parents[1] / "adapters" / "pretrained" / "sst2.safetensors"


def random_file(identity: BackboneIdentity, *, seed: int = 0, dtype: torch.dtype = torch.float16) -> bytes:
    """AdaKron with r=48 in every layer and two labels; another `seed` gives other weights."""
    task = TaskSpec(type="single_label", labels=LABELS, pair=False, pooling="mean", max_length=128)
    metadata = AdapterMetadata(backbone=identity, p=12, q=4, layers=tuple(range(identity.num_layers)), task=task)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: 0.02 * torch.randn(shape, generator=generator) for name, shape in metadata.tensor_shapes().items()}
    return checkpoint.serialize(metadata, tensors, dtype)


def random_adapter(identity: BackboneIdentity, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Adapter:
    """Make a random file, and parse it."""
    return checkpoint.parse(random_file(identity, seed=seed, dtype=dtype))


def shipped_files(number: int) -> list[bytes]:
    """Make good files, all different: the shipped adapter, each with another score in its metrics.

    Their labels are those of `random_file`, so that they can replace its versions.
    """
    adapter = checkpoint.parse(SHIPPED.read_bytes())
    task = adapter.metadata.task.model_copy(update={"labels": LABELS})
    scores = [0.5 + index / 1e7 for index in range(number)]
    described = [adapter.metadata.model_copy(update={"task": task, "metrics": {"accuracy": score}}) for score in scores]
    return [checkpoint.serialize(metadata, adapter.tensors, torch.float16) for metadata in described]


def refused_at_the_end() -> bytes:
    """Make a file with a wrong last golden example: its check takes as long as a good file's, and refuses it."""
    adapter = checkpoint.parse(SHIPPED.read_bytes())
    *examples, last = adapter.metadata.examples
    wrong = last.model_copy(update={"logits": tuple(logit + 1 for logit in last.logits)})
    metadata = adapter.metadata.model_copy(update={"examples": (*examples, wrong)})
    return checkpoint.serialize(metadata, adapter.tensors, torch.float16)
