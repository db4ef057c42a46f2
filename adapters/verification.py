"""Run an adapter on the real backbone before anyone is served by it."""

from typing import NoReturn

import numpy as np
import torch

from adapters.adapter import Adapter
from adapters.encoding import Encoding, TextInput
from adapters.errors import CheckpointError
from adapters.inference import forward_encodings, to_model
from adapters.model import AdapterModel
from adapters.source import LoadedBackbone

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}  # of a logit, plus as much of its size
_PROBES = ("a short text", "A somewhat longer text, with a comma; it ends here.", "?")
_NO_EFFECT = 1e-6


def verify(loaded: LoadedBackbone, adapter: Adapter) -> None:
    """Dry run and golden examples, in a few dozen milliseconds.

    Raises CheckpointError: `pooling` or `config` where this backbone cannot do what the adapter asks for,
    `dry_run` for logits that are not finite or depend on their batch, `no_effect` where the adapters change
    nothing, `golden_examples` where the trainer's own logits do not come out again.
    """
    task = adapter.metadata.task
    if task.pooling == "pooler" and not loaded.backbone.has_pooler:
        _refuse("pooling", "the task pools by BERT's pooler, which this backbone came without")
    if task.max_length > loaded.backbone.max_positions:
        _refuse("config", f"task.max_length {task.max_length} is over the backbone's {loaded.backbone.max_positions}")
    model = to_model(loaded, adapter)
    examples = adapter.metadata.examples
    inputs: list[TextInput] = [(text, text[::-1]) if task.pair else text for text in _PROBES]
    inputs += [example.text_input for example in examples]
    encodings = loaded.encoder.encode(inputs, max_length=task.max_length)
    together = forward_encodings(model, encodings)
    if together.shape != (len(inputs), task.num_outputs) or not np.isfinite(together).all():
        _refuse("dry_run", "the logits of a dry run are not finite")
    tolerance = TOLERANCE[loaded.backbone.dtype]
    alone = np.concatenate([forward_encodings(model, [encoding]) for encoding in encodings[: len(_PROBES)]])
    if not _close(alone, together[: len(_PROBES)], tolerance):
        _refuse("dry_run", "an input alone and in a batch gets different logits")
    if np.abs(together - _without_adapters(model, encodings)).max() < _NO_EFFECT:
        _refuse("no_effect", "the adapters change nothing: the backbone alone gives the same logits")
    expected = np.array([example.logits for example in examples], dtype=np.float32).reshape(-1, task.num_outputs)
    got = together[len(_PROBES) :]
    if not _close(expected, got, tolerance):
        worst = int(np.abs(expected - got).max(axis=1).argmax())
        _refuse(
            "golden_examples",
            f"example {worst}: the trainer computed {expected[worst].tolist()}, here it gives {got[worst].tolist()}",
        )


def _refuse(reason: str, message: str) -> NoReturn:
    raise CheckpointError(reason, message)


def _close(expected: np.ndarray, got: np.ndarray, tolerance: float) -> bool:
    return bool(np.allclose(expected, got, rtol=tolerance, atol=tolerance))


def _without_adapters(model: AdapterModel, encodings: list[Encoding]) -> np.ndarray:
    bare = AdapterModel(model.backbone, model.config)
    bare.layers = torch.nn.ModuleDict()
    bare.head = model.head
    return forward_encodings(bare.eval(), encodings)
