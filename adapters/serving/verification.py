"""The dry run of an upload: runs an adapter on the real backbone before clients can use it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from adapters.adapter import Adapter
from adapters.backbone.quantized import dtype_name
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import Encoding, TextInput
from adapters.errors import CheckpointError
from adapters.gates import GatedAdapter
from adapters.method.model import AdapterModel
from adapters.serving.inference import forward_encodings, to_model

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.02, "int8": 0.5}  # of a logit, plus as much of its size
_PROBES = ("a short text", "A somewhat longer text, with a comma; it ends here.", "?")
_NO_EFFECT = 1e-6


def verify(loaded: LoadedBackbone, adapter: Adapter | GatedAdapter) -> None:
    """Dry run and golden examples, in a few dozen milliseconds.

    Of a gated file the adapters of the mean gate and of the first, the middle and the last key run, one after the
    other: the weights of any other key lie between those of the experts, which are finite.

    Raises CheckpointError with the reason `pooling` or `max_length` when the backbone does not support what the adapter
    asks for; `dry_run_shape`, `dry_run_not_finite` or `dry_run_batch` when logits have another shape, are not finite
    or depend on their batch; `no_effect` when the adapters do not change the logits; `golden_examples` when the
    trainer's own logits are not reproduced.
    """
    if not isinstance(adapter, GatedAdapter):
        _verify_plain(loaded, adapter)
        return
    last = len(adapter.gates.digests) - 1
    for row in (None, *dict.fromkeys((0, last // 2, last))):
        try:
            _verify_plain(loaded, adapter.merge(row))
        except CheckpointError as error:
            whose = "the mean gate" if row is None else f"the gate in row {row}"
            raise CheckpointError(error.reason, f"with {whose}: {error}") from None


def _verify_plain(loaded: LoadedBackbone, adapter: Adapter) -> None:
    task, dtype = adapter.metadata.task, dtype_name(loaded.backbone)
    tolerance = TOLERANCE[dtype]
    if task.pooling == "pooler" and not loaded.backbone.has_pooler:
        raise CheckpointError("pooling", "the task pools by BERT's pooler, which this backbone came without")
    if task.max_length > loaded.backbone.max_positions:
        raise CheckpointError(
            "max_length", f"task.max_length {task.max_length} is over the backbone's {loaded.backbone.max_positions}"
        )
    model = to_model(loaded, adapter)
    model.register_forward_hook(_check_shape)
    inputs: list[TextInput] = [(text, text[::-1]) if task.pair else text for text in _PROBES]
    inputs += [example.text_input for example in adapter.metadata.examples]
    encodings = loaded.encoder.encode_for(task, inputs)
    together = forward_encodings(model, encodings)
    if not np.isfinite(together).all():
        raise CheckpointError("dry_run_not_finite", f"a dry run in {dtype} gives NaN or Inf")
    alone = np.concatenate([forward_encodings(model, [encoding]) for encoding in encodings[: len(_PROBES)]])
    if not _close(alone, together[: len(_PROBES)], tolerance).all():
        raise CheckpointError("dry_run_batch", "an input alone and in a batch gets different logits")
    if not (_changes(model, encodings[:1], alone[:1]) or _changes(model, encodings, together)):
        raise CheckpointError("no_effect", "the adapters change nothing: the backbone alone gives the same logits")
    _check_examples(adapter, together[len(_PROBES) :], tolerance)


def _check_shape(model: AdapterModel, arguments: tuple[Any, ...], logits: Tensor) -> None:
    expected = (len(arguments[2].lengths), model.config.task.num_outputs)  # (token_ids, type_ids, packing)
    if logits.shape != expected:
        raise CheckpointError("dry_run_shape", f"logits of a dry run have shape {tuple(logits.shape)}, not {expected}")


def _check_examples(adapter: Adapter, logits: np.ndarray, tolerance: float) -> None:
    for index, (example, got) in enumerate(zip(adapter.metadata.examples, logits, strict=True)):
        expected = np.array(example.logits)  # float64: an absurd number must not overflow
        if not (close := _close(expected, got, tolerance)).all():
            output = int(close.argmin())
            raise CheckpointError(
                "golden_examples",
                f"example {index}, output {output}: the trainer computed {expected[output]:.6g}, here it is "
                f"{got[output]:.6g}",
            )


def _close(expected: np.ndarray, got: np.ndarray, tolerance: float) -> np.ndarray:
    close: np.ndarray = np.isclose(expected, got, rtol=tolerance, atol=tolerance)
    return close


def _changes(model: AdapterModel, encodings: list[Encoding], logits: np.ndarray) -> bool:
    """Whether the `logits` of `encodings` differ from those of the backbone without the adapters.

    One input shows that nearly always, so that the other inputs need no second forward.
    """
    bare = AdapterModel(model.backbone, model.config)
    bare.layers = torch.nn.ModuleDict()
    bare.head = model.head
    return bool(np.abs(logits - forward_encodings(bare.eval(), encodings)).max() >= _NO_EFFECT)
