"""Package trained weights: the adapter file with its temperature, scores, golden examples and training record."""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
from service.train.evaluation.comparison import Comparison, compare
from service.train.evaluation.metrics import compute_metrics
from service.train.fit.batches import EncodedRows
from service.train.fit.methods import num_trained
from service.train.fit.probe import Probe
from service.train.fit.targets import TargetCodec
from service.train.options import FileDtype, FitOptions, MetricName
from service.train.recipes import SERVABLE

DTYPES: dict[FileDtype, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}
NUM_EXAMPLES = 8
MAX_BYTES = 24 * 1024  # all examples together; the header of a file holds 256 KiB
LOGIT_BYTES = 14


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


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of weights on the validation rows, with the logits and targets that they were computed from."""

    metadata: AdapterMetadata
    analysis: Analysis
    logits: np.ndarray  # [N, num_outputs], before the temperature, in the scale of the data
    targets: np.ndarray  # [N] classes or numbers, or [N, num_labels] of 0 and 1


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
    plain = AdapterMetadata(**dict(model.config), training=training)
    adapter = checkpoint.parse_plain(checkpoint.serialize(plain, tensors, stored))
    logits = fitted.out_of_fold
    if logits is None:
        logits = forward_encodings(to_model(loaded, adapter), fitted.rows.encodings)
    inputs = choose_inputs(fitted.validation.inputs, fitted.validation.targets, plain.task.num_outputs, seed)
    scored = _score(plain, logits, codec.restore(np.stack(fitted.rows.targets)), seed)
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
    mixture = {"experts": options.experts} if options.method.startswith("madakron") else {}
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


def choose_inputs(
    inputs: Sequence[TextInput], targets: Sequence[Label], num_outputs: int, seed: int
) -> list[TextInput]:
    """Draw at most NUM_EXAMPLES inputs, from each label in turn; inputs too long for the file are skipped."""
    by_label: dict[Label, list[int]] = defaultdict(list)
    for index, target in enumerate(targets):
        # a regression has no classes: the thirds of its range take their place
        by_label[_third(target, targets) if isinstance(target, float) else target].append(index)
    drawn = random.Random(seed)
    for members in by_label.values():
        drawn.shuffle(members)
    rounds = max(len(members) for members in by_label.values())
    in_turn = [members[turn] for turn in range(rounds) for members in by_label.values() if turn < len(members)]
    chosen: list[TextInput] = []
    num_bytes = 0
    for index in in_turn:
        # quoted twice: the metadata is JSON in a string of the header's JSON
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
    """Golden examples: the inputs with the logits of `adapter`, to seven digits. A server must get the same logits."""
    if not inputs:
        return ()
    logits = predict_logits(loaded, adapter, inputs)
    return tuple(
        GoldenExample(inputs=item, logits=tuple(float(f"{value:.7g}") for value in row))
        for item, row in zip(inputs, logits, strict=True)
    )
