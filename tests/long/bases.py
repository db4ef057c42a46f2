"""Valid files that the mutations and the fuzzer start from."""

import torch

from adapters import checkpoint
from adapters.adapter import Adapter, AdapterMetadata
from adapters.config import BackboneIdentity
from tests.support.factories import make_adapter, make_adapter_bytes, make_gated_bytes

IDENTITY = BackboneIdentity(
    name="least", hidden_size=4, num_layers=2, weights_sha256="0" * 64, tokenizer_sha256="1" * 64
)


def base_files() -> list[bytes]:
    """Make eight kinds of adapter file for `IDENTITY`, as small as possible: 1.2 to 2.3 KB, mostly header."""
    half = torch.float16
    return [
        make_adapter_bytes(identity=IDENTITY, p=2, q=1, layers=(0,)),
        make_adapter_bytes(identity=IDENTITY, p=1, q=1, layers=(1,), type="regression", labels=(), pair=True),
        make_adapter_bytes(identity=IDENTITY, p=1, q=2, type="multi_label", labels=("übel", "gut"), dtype=half),
        make_adapter_bytes(
            identity=IDENTITY,
            p=1,
            q=1,
            layers=(0,),
            labels=("übel", "日本語 👍\u200d"),
            truncation="head-tail",
            special_tokens="text",
        ),
        make_adapter_bytes(identity=IDENTITY, p=1, q=1, layers=(0,), labels=("übel", "gut"), format_version=1),
        make_gated_bytes(identity=IDENTITY, p=1, q=1, layers=(0,), num_experts=2),
        make_gated_bytes(identity=IDENTITY, p=1, q=2, layers=(1,), num_experts=3, keys=("de", "fr"), dtype=half),
        _described(make_adapter(identity=IDENTITY, p=1, q=2, layers=(0,), pooling="cls", temperature=1.5)),
    ]


def _described(adapter: Adapter) -> bytes:
    """Add all optional metadata that a trainer writes."""
    metadata = AdapterMetadata.model_validate(
        dict(adapter.metadata)
        | {
            "training": {"seed": 42, "versions": {"torch": "2.13.0"}, "files": ["a.jsonl", None, True, -0.5]},
            "metrics": {"accuracy": 0.875, "f1": 0.5},
            "examples": ({"inputs": "a text", "logits": (-1.5, 1.5)}, {"inputs": "ein Fluß", "logits": (0.0, 2e-07)}),
        }
    )
    return checkpoint.serialize(metadata, adapter.tensors)
