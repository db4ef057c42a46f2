"""The life of one training: data -> train -> best checkpoint -> adapter file -> golden examples -> publish."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import datasets
import transformers
from pydantic import JsonValue
from rich.console import Console

from adapters import checkpoint
from adapters.config import DEFAULT_BACKBONE, AdapterConfig
from adapters.source import LoadedBackbone, load_backbone
from adapters.verification import verify
from service.train.analysis import Analysis
from service.train.artifact import build_file, library_versions
from service.train.assemble import check_options, choose_metric, encode, make_config, make_model
from service.train.curves import read_curves
from service.train.data import TaskData, load_data
from service.train.options import MetricName, TrainOptions
from service.train.publish import Publication, publish
from service.train.report import render_report
from service.train.resume import (
    ADAPTER_FILE,
    REPORT_FILE,
    full_disk_is_told,
    last_checkpoint,
    make_plan,
    prepare_folder,
    write_atomically,
)
from service.train.targets import TargetCodec
from service.train.trainer import make_trainer, training_arguments

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class TrainResult:
    """What came out of a training."""

    task: str
    path: Path  # of the adapter file
    digest: str  # its SHA-256
    metric: MetricName  # that the best checkpoint was chosen by
    metrics: Mapping[str, float]  # of the stored adapter on the validation data
    num_parameters: int  # of the adapters, without the head
    num_backbone_parameters: int
    epochs: float  # trained; early stopping may end it before the recipe's
    duration_s: float
    publication: Publication | None
    report: Path | None = None  # the page; None where it could not be made
    analysis: Analysis | None = field(default=None, compare=False)  # None where only publishing was left to do


def train(options: TrainOptions, console: Console | None = None) -> TrainResult | None:
    """Train one adapter as `options` say; None on every process of a distributed training but the first.

    Raises TrainingError or adapters.errors.AdapterError, each told in one line.
    """
    console = console or Console(stderr=True)
    quieten_libraries()
    check_options(options)
    data = load_data(options)
    metric = choose_metric(options, data)
    arguments = training_arguments(
        options.output,
        options.recipe,
        metric=metric,
        evaluate_every=options.evaluate_every,
        seed=options.seed,
        mixed_precision=options.mixed_precision,
        device=options.device,
    )
    loaded = load_backbone(options.backbone or DEFAULT_BACKBONE, device=arguments.device)
    config = make_config(options, data, loaded)
    path = options.output / ADAPTER_FILE
    if arguments.should_save:
        prepare_folder(options.output, make_plan(options, data, config), resume=options.resume)
        _announce(console, options, data)
    analysis = None
    if not (options.resume and path.exists()):
        with full_disk_is_told(options.output):
            analysis = run_training(options, arguments, data, loaded, config, console)
    return _finish(options, metric, loaded, path, analysis) if arguments.should_save else None


def run_training(
    options: TrainOptions,
    arguments: transformers.TrainingArguments,
    data: TaskData,
    loaded: LoadedBackbone,
    config: AdapterConfig,
    console: Console,
) -> Analysis | None:
    """From the data, or from the last checkpoint, to the adapter file; None but on the process that writes it."""
    started = time.monotonic()
    codec = TargetCodec.fit(
        config.task.type,
        config.task.num_outputs,
        data.train.targets,
        class_weights=options.class_weights,
        smoothing=options.recipe.label_smoothing,
    )
    train_rows, validation_rows = (
        encode(split, loaded, codec, config.task.max_length) for split in (data.train, data.validation)
    )
    transformers.set_seed(options.seed)
    model = make_model(options, config, loaded)
    trainer = make_trainer(
        model, arguments, codec, train_rows, validation_rows, patience=options.recipe.patience, console=console
    )
    last = last_checkpoint(options.output) if options.resume else None
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    epochs = float(trainer.state.epoch or 0.0)
    trainer.accelerator.end_training()
    if not arguments.should_save:
        return None
    file, metadata, analysis = build_file(
        model,
        codec,
        loaded,
        data.validation,
        validation_rows,
        training=_training_record(options, data, codec, epochs, time.monotonic() - started),
        dtype=options.dtype,
        seed=options.seed,
    )
    write_atomically(options.output / METRICS_FILE, json.dumps(metadata.metrics, indent=2).encode())
    try:
        curves = read_curves(trainer.state.log_history, trainer.state.best_global_step)
        metric = arguments.metric_for_best_model
        page = render_report(options.task, metric, metadata, data.validation, curves, analysis)
        write_atomically(options.output / REPORT_FILE, page.encode())
    except Exception as error:  # whatever it is: hours of training are not lost for a page about them
        console.print(f"{REPORT_FILE} could not be made: {error!r}; the adapter is not touched by it", markup=False)
    write_atomically(options.output / ADAPTER_FILE, file)  # the last: it tells that the training is finished
    return analysis


def _finish(
    options: TrainOptions, metric: MetricName, loaded: LoadedBackbone, path: Path, analysis: Analysis | None
) -> TrainResult:
    file = path.read_bytes()
    adapter = checkpoint.loads(file, loaded.identity)
    verify(loaded, adapter)  # as a server does with an upload; a registry that is written directly cannot
    record = adapter.metadata.training
    return TrainResult(
        task=options.task,
        path=path,
        digest=adapter.digest,
        metric=metric,
        metrics=adapter.metadata.metrics,
        num_parameters=adapter.metadata.num_parameters,
        num_backbone_parameters=sum(parameter.numel() for parameter in loaded.backbone.parameters()),
        epochs=cast(float, record["epochs"]),
        duration_s=cast(float, record["duration_s"]),
        publication=publish(options.target, options.task, file, path),
        report=report if (report := options.output / REPORT_FILE).exists() else None,
        analysis=analysis,
    )


def quieten_libraries() -> None:
    """No progress bars for files that load at once, no telemetry, no warnings that ask for nothing."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity_error()


def _announce(console: Console, options: TrainOptions, data: TaskData) -> None:
    scheme = data.scheme
    kind = f"{len(scheme.names)} labels" if scheme.names else "regression"
    source = "held out of the training data" if data.held_out else data.validation.name
    console.print(
        f"task {options.task}: {scheme.type}, {kind}, {'pairs of texts' if data.pair else 'texts'}; {len(data.train)} "
        f"rows to train on, {len(data.validation)} to validate ({source})",
        highlight=False,
    )
    for warning in data.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)


def _training_record(
    options: TrainOptions, data: TaskData, codec: TargetCodec, epochs: float, duration_s: float
) -> dict[str, JsonValue]:
    return {
        "versions": library_versions(),
        "seed": options.seed,
        "recipe": options.recipe_name,
        "hyper_parameters": {
            **asdict(options.recipe),
            "mixed_precision": options.mixed_precision,
            "class_weights": [float(f"{weight:.4g}") for weight in codec.weights] if codec.weights else None,
        },
        "data": {"train": data.train.provenance, "validation": data.validation.provenance},
        "epochs": epochs,
        "duration_s": round(duration_s, 1),
    }
