"""Package trained weights: the adapter file with its temperature, scores, golden examples and training record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor

from adapters import checkpoint
from adapters.adapter import AdapterMetadata
from adapters.backbone.source import LoadedBackbone
from adapters.gates import GatedAdapter
from adapters.method.gated import GatedModel
from adapters.method.model import AdapterModel
from adapters.serving.inference import forward_encodings, to_gated_model, to_model
from service.train.data.load import TaskData
from service.train.data.split import Split
from service.train.evaluation.analysis import Analysis, analyse
from service.train.evaluation.calibration import calibrate
from service.train.evaluation.comparison import Comparison, compare
from service.train.evaluation.metrics import compute_metrics
from service.train.examples import choose_inputs, make_examples
from service.train.fit.batches import EncodedRows
from service.train.fit.keys import KeyTable
from service.train.fit.methods import num_trained
from service.train.fit.probe import Probe
from service.train.fit.targets import TargetCodec
from service.train.options import FileDtype, FitOptions, MetricName
from service.train.recipes import SERVABLE

DTYPES: dict[FileDtype, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model, the probe that it is compared with, and the validation rows of both."""

    model: AdapterModel
    codec: TargetCodec
    loaded: LoadedBackbone
    validation: Split
    rows: EncodedRows  # the encoded validation rows
    probe: Probe
    probe_logits: np.ndarray  # of the validation rows by the frozen backbone, in the scale of the data
    # logits of the validation rows by trainings without them, in the scale of the data; then the probe's are such, too
    out_of_fold: np.ndarray | None = None
    num_folds: int = 0
    keys: KeyTable | None = None  # of a gated model


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of weights on the validation rows, with the logits and targets that they were computed from."""

    metadata: AdapterMetadata
    analysis: Analysis
    logits: np.ndarray  # [N, num_outputs], before the temperature, in the scale of the data
    targets: np.ndarray  # [N] classes or numbers, or [N, num_labels] of 0 and 1

    def beside(self, mean_gate: Mapping[str, float]) -> "Scored":
        """Return these scores with those of the mean gate, by names with the suffix _mean_gate."""
        metrics = self.metadata.metrics | {f"{name}_mean_gate": value for name, value in mean_gate.items()}
        return replace(self, metadata=self.metadata.model_copy(update={"metrics": metrics}))


@dataclass(frozen=True, eq=False)
class Packaged:
    """The result of a training, ready to be written."""

    file: bytes | None  # the adapter file; None for a method that makes none
    scored: Scored
    comparison: Comparison | None  # with the probe; None for the method `head`, which is the probe
    num_parameters: int  # trained ones without the head; for a mixture, those of the merged adapter


def package(
    fitted: Fitted, options: FitOptions, dtype: FileDtype, metric: MetricName, record: dict[str, JsonValue]
) -> Packaged:
    """Build the adapter file with its scores, or only score a method without a file, and compare with the probe.

    If the probe has a better score than the best checkpoint, the file holds the probe, and its record says so;
    cross-validated, an equal score is enough.
    """
    if options.method not in SERVABLE:
        scored = score(fitted.model, fitted.codec, fitted.rows, training=record, seed=options.seed)
        beside = None if options.method == "head" else _compare(fitted, scored, metric, options.seed, name="model")
        return Packaged(None, scored, beside, num_trained(fitted.model))
    if isinstance(fitted.model, GatedModel):
        model: AdapterModel = fitted.model
        num_parameters = model.config.num_parameters
    else:
        model = fitted.model.merged()
        num_parameters = num_trained(model)
    file, scored = build_file(model, fitted, training=record, dtype=dtype, seed=options.seed)
    beside = _compare(fitted, scored, metric, options.seed)
    if beside.score < beside.probe or (fitted.num_folds and beside.score == beside.probe):
        fitted.probe.replace(model, options.seed)
        if fitted.num_folds:
            fitted = replace(fitted, out_of_fold=fitted.probe_logits)
        record = {**record, "holds": "probe"}
        file, scored = build_file(model, fitted, training=record, dtype=dtype, seed=options.seed)
        beside = _compare(fitted, scored, metric, options.seed, holds_probe=True)
    return Packaged(file, scored, beside, num_parameters)


def _compare(
    fitted: Fitted, scored: Scored, metric: MetricName, seed: int, *, name: str = "adapter", holds_probe: bool = False
) -> Comparison:
    task, targets = fitted.model.config.task, scored.targets
    return compare(
        task,
        metric,
        scored.logits,
        fitted.probe_logits,
        targets,
        seed=seed,
        name=name,
        holds_probe=holds_probe,
        num_folds=fitted.num_folds,
    )


def build_file(
    model: AdapterModel, fitted: Fitted, *, training: dict[str, JsonValue], dtype: FileDtype, seed: int
) -> tuple[bytes, Scored]:
    """Build the adapter file of `model`; returns its bytes and its scores on the validation rows.

    Temperature, scores and examples are computed from the stored weights, rounding included, by the plain float32
    forward, so they are those of a server and not those of the training loop; but those of cross-validated rows are
    from their logits out of fold.
    """
    stored, codec, loaded = DTYPES[dtype], fitted.codec, fitted.loaded
    tensors = real_scale(model.state_dict(), codec)
    if isinstance(model, GatedModel) and fitted.keys:
        tensors |= fitted.keys.tensors(model)
    plain = AdapterMetadata(**dict(model.config), training=training)
    adapter = checkpoint.parse(checkpoint.serialize(plain, tensors, stored))
    inputs = choose_inputs(fitted.validation.inputs, fitted.validation.targets, plain.task.num_outputs, seed)
    targets = codec.restore(np.stack(fitted.rows.targets))
    if isinstance(adapter, GatedAdapter):
        logits = forward_encodings(to_gated_model(loaded, adapter), fitted.rows.encodings, keys=fitted.rows.keys)
        adapter = adapter.merge(None)
        mean_logits = forward_encodings(to_model(loaded, adapter), fitted.rows.encodings)
        scored = _score(plain, logits, targets, seed).beside(compute_metrics(mean_logits, targets, plain.task.type))
    else:
        crossed = fitted.out_of_fold
        logits = forward_encodings(to_model(loaded, adapter), fitted.rows.encodings) if crossed is None else crossed
        scored = _score(plain, logits, targets, seed)
    metadata = scored.metadata.model_copy(update={"examples": make_examples(loaded, adapter, inputs)})
    return checkpoint.serialize(metadata, tensors, stored), replace(scored, metadata=metadata)


def score(
    model: AdapterModel, codec: TargetCodec, rows: EncodedRows, *, training: dict[str, JsonValue], seed: int
) -> Scored:
    """Score a method that makes no adapter file, as `build_file` does."""
    plain = AdapterMetadata(**dict(model.config), training=training)
    logits = codec.restore(forward_encodings(model.eval(), rows.encodings))
    return _score(plain, logits, codec.restore(np.stack(rows.targets)), seed)


def _score(plain: AdapterMetadata, logits: np.ndarray, targets: np.ndarray, seed: int) -> Scored:
    calibration = calibrate(logits, targets, plain.task.type, seed)
    metadata = plain.model_copy(
        update={
            "task": plain.task.model_copy(update={"temperature": calibration.temperature}),
            "metrics": compute_metrics(logits, targets, plain.task.type) | calibration.metrics,
        }
    )
    analysis = analyse(logits / calibration.temperature, targets, plain.task.type, plain.task.labels)
    return Scored(metadata, analysis, logits, targets)


def real_scale(state: dict[str, Tensor], codec: TargetCodec) -> dict[str, Tensor]:
    """The tensors with a head that predicts real values; a regression is trained on standardised ones."""
    weight, bias = codec.fold(state["head.weight"], state["head.bias"])
    return {**state, "head.weight": weight, "head.bias": bias}


def make_training_record(
    options: FitOptions, data: TaskData, codec: TargetCodec, epochs: float
) -> dict[str, JsonValue]:
    """The record of the training in the adapter file. It holds no times: the same training gives the same file."""
    mixes = options.method.startswith("madakron") or data.roles.key is not None
    mixture = {"experts": options.experts} if mixes else {}
    return {
        "versions": library_versions(),
        "method": options.method,
        **mixture,
        "seed": options.seed,
        "recipe": options.recipe,
        "hyper_parameters": {
            **asdict(options.hyper_parameters),
            "mixed_precision": options.mixed_precision,
            "class_weights": [float(f"{weight:.4g}") for weight in codec.weights] if codec.weights else None,
        },
        **({"folds": max(data.folds) + 1} if data.folds else {}),
        "data": {"train": data.train.provenance, "validation": data.validation.provenance},
        "epochs": epochs,
    }


def library_versions() -> dict[str, JsonValue]:
    """Versions of AdaKron Serve and of the libraries that make the weights."""
    versions: dict[str, JsonValue] = {}
    for key, package in (("adakron", "adakron-serve"), *((name, name) for name in ("torch", "transformers"))):
        try:
            versions[key] = version(package)
        except PackageNotFoundError:  # run from a source tree
            versions[key] = "unknown"
    versions["safetensors"] = version("safetensors")
    return versions
