"""Trained weights -> adapter file, calibrated, scored and with golden examples, as it will be served."""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor

from adapters import checkpoint
from adapters.adapter import Adapter, AdapterMetadata, GoldenExample
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import TextInput
from adapters.method.model import AdapterModel
from adapters.serving.inference import forward_encodings, predict_logits, to_model
from service.train.data.labels import Label
from service.train.data.load import TaskData
from service.train.data.split import Split
from service.train.evaluation.analysis import Analysis, analyse
from service.train.evaluation.calibration import calibrate
from service.train.evaluation.metrics import compute_metrics
from service.train.fit.batches import EncodedRows
from service.train.fit.targets import TargetCodec
from service.train.options import FileDtype, TrainOptions

DTYPES: dict[FileDtype, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}


def build_file(
    model: AdapterModel,
    codec: TargetCodec,
    loaded: LoadedBackbone,
    validation: Split,
    rows: EncodedRows,
    *,
    training: dict[str, JsonValue],
    dtype: FileDtype,
    seed: int,
) -> tuple[bytes, AdapterMetadata, Analysis]:
    """The adapter file, what it says of itself, and what its answers to the validation rows tell.

    Temperature, scores and examples come from the weights as stored, rounding included, by the plain float32 forward:
    they are what a server will answer, not what training saw.
    """
    stored = DTYPES[dtype]
    tensors = real_scale(model.state_dict(), codec)
    plain = AdapterMetadata(**dict(model.config), training=training)
    adapter = checkpoint.parse(checkpoint.serialize(plain, tensors, stored))
    logits = forward_encodings(to_model(loaded, adapter), rows.encodings)
    inputs = choose_inputs(validation.inputs, validation.targets, plain.task.num_outputs, seed)
    scored, analysis = _score(plain, logits, codec.restore(np.stack(rows.targets)), seed)
    metadata = scored.model_copy(update={"examples": make_examples(loaded, adapter, inputs)})
    return checkpoint.serialize(metadata, tensors, stored), metadata, analysis


def score(
    model: AdapterModel, codec: TargetCodec, rows: EncodedRows, *, training: dict[str, JsonValue], seed: int
) -> tuple[AdapterMetadata, Analysis]:
    """The same for a method that makes no file: its scores on the validation rows, and what its answers tell."""
    plain = AdapterMetadata(**dict(model.config), training=training)
    logits = codec.restore(forward_encodings(model.eval(), rows.encodings))
    return _score(plain, logits, codec.restore(np.stack(rows.targets)), seed)


def _score(
    plain: AdapterMetadata, logits: np.ndarray, targets: np.ndarray, seed: int
) -> tuple[AdapterMetadata, Analysis]:
    calibration = calibrate(logits, targets, plain.task.type, seed)
    metadata = plain.model_copy(
        update={
            "task": plain.task.model_copy(update={"temperature": calibration.temperature}),
            "metrics": compute_metrics(logits, targets, plain.task.type) | calibration.metrics,
        }
    )
    return metadata, analyse(logits / calibration.temperature, targets, plain.task.type, plain.task.labels)


def real_scale(state: dict[str, Tensor], codec: TargetCodec) -> dict[str, Tensor]:
    """The tensors with a head that gives real values, where training used standardised ones."""
    weight, bias = codec.fold(state["head.weight"], state["head.bias"])
    return {**state, "head.weight": weight, "head.bias": bias}


def make_training_record(
    options: TrainOptions, data: TaskData, codec: TargetCodec, epochs: float
) -> dict[str, JsonValue]:
    """What the adapter file says of its training; no times in it, so that the same training gives the same file."""
    mixture = {"experts": options.experts} if options.method.startswith("madakron") else {}
    return {
        "versions": library_versions(),
        "method": options.method,
        **mixture,
        "seed": options.seed,
        "recipe": options.recipe_name,
        "hyper_parameters": {
            **asdict(options.recipe),
            "mixed_precision": options.mixed_precision,
            "class_weights": [float(f"{weight:.4g}") for weight in codec.weights] if codec.weights else None,
        },
        "data": {"train": data.train.provenance, "validation": data.validation.provenance},
        "epochs": epochs,
    }


def library_versions() -> dict[str, JsonValue]:
    """What the weights were made with."""
    versions: dict[str, JsonValue] = {}
    for key, package in (("adakron", "adakron-serve"), *((name, name) for name in ("torch", "transformers"))):
        try:
            versions[key] = version(package)
        except PackageNotFoundError:  # run from a source tree
            versions[key] = "unknown"
    versions["safetensors"] = version("safetensors")
    return versions


NUM_EXAMPLES = 8
MAX_BYTES = 24 * 1024  # of all examples in the file, whose header holds 256 KiB
LOGIT_BYTES = 14


def choose_inputs(
    inputs: Sequence[TextInput], targets: Sequence[Label], num_outputs: int, seed: int
) -> list[TextInput]:
    """At most NUM_EXAMPLES inputs, drawn from each label in turn; those too long for the file are passed over."""
    by_label: dict[Label, list[int]] = defaultdict(list)
    for index, target in enumerate(targets):
        # numbers are no classes: their thirds stand for low, middle and high
        by_label[_third(target, targets) if isinstance(target, float) else target].append(index)
    drawn = random.Random(seed)
    for members in by_label.values():
        drawn.shuffle(members)
    rounds = max(len(members) for members in by_label.values())
    in_turn = [members[turn] for turn in range(rounds) for members in by_label.values() if turn < len(members)]
    chosen: list[TextInput] = []
    num_bytes = 0
    for index in in_turn:
        # twice: JSON in a string of the header's JSON
        size = len(_quoted(_quoted(inputs[index])).encode()) + LOGIT_BYTES * num_outputs
        if num_bytes + size <= MAX_BYTES and len(chosen) < NUM_EXAMPLES:
            chosen.append(inputs[index])
            num_bytes += size
    return chosen


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _third(target: float, targets: Sequence[Label]) -> int:
    values = [value for value in targets if isinstance(value, float)]
    low, high = min(values), max(values)
    return min(2, int(3 * (target - low) / (high - low))) if high > low else 0


def make_examples(loaded: LoadedBackbone, adapter: Adapter, inputs: Sequence[TextInput]) -> tuple[GoldenExample, ...]:
    """The inputs with the logits of `adapter`, to seven digits."""
    if not inputs:
        return ()
    logits = predict_logits(loaded, adapter, inputs)
    return tuple(
        GoldenExample(inputs=item, logits=tuple(float(f"{value:.7g}") for value in row))
        for item, row in zip(inputs, logits, strict=True)
    )
