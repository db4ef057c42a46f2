"""Trained weights -> adapter file, calibrated, scored and with golden examples, as it will be served."""

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor

from adapters import checkpoint
from adapters.adapter import AdapterMetadata
from adapters.backbone.source import LoadedBackbone
from adapters.method.model import AdapterModel
from adapters.serving.inference import forward_encodings, to_model
from service.train.analysis import Analysis, analyse
from service.train.calibration import calibrate
from service.train.collator import EncodedRows
from service.train.data import TaskData
from service.train.evaluate import compute_metrics
from service.train.examples import choose_inputs, make_examples
from service.train.options import FileDtype, TrainOptions
from service.train.split import Split
from service.train.targets import TargetCodec

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
