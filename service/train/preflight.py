"""Check before the first step that the adapter file can be written."""

import json
import math

import torch
from torch import Tensor

from adapters import checkpoint
from adapters.adapter import AdapterMetadata, GoldenExample
from adapters.checkpoint.container import MAX_HEADER_BYTES, MAX_METADATA_CHARS
from adapters.config import GATE_KEYS, GATE_MEAN, GATE_TABLE, AdapterConfig
from adapters.errors import CheckpointError
from service.train.data.load import TaskData
from service.train.errors import TrainingError
from service.train.examples import choose_inputs
from service.train.fit.keys import KeyTable
from service.train.fit.targets import TargetCodec
from service.train.options import TrainOptions
from service.train.package import DTYPES, make_training_record
from service.train.recipes import SERVABLE

_DEVIATIONS = 3  # the head's bias may drift this many standard deviations from the mean of a regression
_LONGEST_NUMBER = -1.234567e-10  # no logit or score is written with more characters
_NUM_METRICS = 16
_ENTRY_BYTES = 110  # a tensor's entry in the header


def check_file(
    options: TrainOptions, data: TaskData, config: AdapterConfig, codec: TargetCodec, keys: KeyTable | None = None
) -> None:
    """Serialize a file like the one that the training will write, with the longest and largest numbers possible.

    Raises TrainingError if a part is too long or too large; the message says by how much, and the remedy.
    """
    fit = options.fit
    if fit.method not in SERVABLE:
        return
    task = config.task
    inputs = choose_inputs(data.validation.inputs, data.validation.targets, task.num_outputs, fit.seed)
    logits = (_LONGEST_NUMBER,) * task.num_outputs
    metadata = AdapterMetadata(
        **dict(config)
        | {"task": task if task.type == "regression" else task.model_copy(update={"temperature": 1 / 3})},
        training=make_training_record(fit, data, codec, fit.hyper_parameters.epochs / 3),
        metrics={f"metric_of_many_{index:02}": _LONGEST_NUMBER for index in range(_NUM_METRICS)},
        examples=tuple(GoldenExample(inputs=item, logits=logits) for item in inputs),
    )
    try:
        checkpoint.serialize(metadata, _tensors(metadata, codec, keys), DTYPES[options.publish.dtype])
    except CheckpointError as error:
        raise TrainingError(_explain(error, metadata, codec)) from None


def _tensors(metadata: AdapterMetadata, codec: TargetCodec, keys: KeyTable | None) -> dict[str, Tensor]:
    shapes = metadata.gated_tensor_shapes(len(keys)) if keys else metadata.tensor_shapes()
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    if keys:
        for name in (GATE_TABLE, GATE_MEAN):
            tensors[name] += 1 / keys.config.num_experts
        tensors[GATE_KEYS] = torch.from_numpy(keys.digests)
    head = torch.ones_like(tensors["head.weight"]), _DEVIATIONS * torch.ones_like(tensors["head.bias"])
    tensors["head.weight"], tensors["head.bias"] = codec.fold(*head)
    return tensors


def _explain(error: CheckpointError, metadata: AdapterMetadata, codec: TargetCodec) -> str:
    labels = metadata.task.labels
    if error.reason in ("container_metadata_too_large", "container_header_length") and labels:
        text = checkpoint.canonical_json(metadata)
        header = len(json.dumps(text, ensure_ascii=False).encode()) + _ENTRY_BYTES * len(metadata.tensor_shapes())
        over = max(len(text) - MAX_METADATA_CHARS, header - MAX_HEADER_BYTES)
        return (
            f"the {len(labels):,} labels have names of {sum(map(len, labels)):,} characters together, about "
            f"{over:,} bytes more than an adapter file can hold: make each name {math.ceil(over / len(labels))} bytes "
            "shorter on average (a character that is not ASCII has 2 to 4), or train on fewer labels"
        )
    if error.reason in ("magnitude", "not_finite") and metadata.task.type == "regression":
        return (
            f"the values to predict are too large for an adapter file: their mean is {codec.mean:.4g}, their standard "
            f"deviation {codec.deviation:.4g} ({error}); divide them by a power of ten, or subtract a constant"
        )
    if error.reason == "file_too_large" and metadata.gates:
        return f"the gates do not fit: {error}; take fewer --experts or --layers, --dtype float16, or fewer keys"
    return f"the adapter file could not be written: {error}"
