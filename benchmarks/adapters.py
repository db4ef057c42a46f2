"""Random adapters of the paper's size, to measure with."""

import torch

from adapters import checkpoint
from adapters.adapter import Adapter, AdapterMetadata
from adapters.config import BackboneIdentity, TaskSpec


def random_file(identity: BackboneIdentity, *, seed: int = 0, dtype: torch.dtype = torch.float16) -> bytes:
    """AdaKron with r=48 in every layer and two labels; another `seed` gives other weights."""
    task = TaskSpec(type="single_label", labels=("no", "yes"), pair=False, pooling="mean", max_length=128)
    metadata = AdapterMetadata(backbone=identity, p=12, q=4, layers=tuple(range(identity.num_layers)), task=task)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: 0.02 * torch.randn(shape, generator=generator) for name, shape in metadata.tensor_shapes().items()}
    return checkpoint.dumps(metadata, tensors, dtype)


def random_adapter(identity: BackboneIdentity, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Adapter:
    """The same, read back."""
    return checkpoint.loads(random_file(identity, seed=seed, dtype=dtype))
