"""The life of one training: data -> train -> best checkpoint -> adapter file -> golden examples -> publish."""

import json
import time
from collections.abc import Iterable
from dataclasses import replace

import transformers
from rich.console import Console

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.config import DEFAULT_BACKBONE, AdapterConfig
from adapters.serving.verification import verify
from service.errors import make_printable
from service.train.data.load import TaskData
from service.train.evaluation.analysis import Analysis
from service.train.fit.lengths import describe_lengths, measure_lengths
from service.train.fit.methods import num_trained
from service.train.fit.output_folder import (
    ADAPTER_FILE,
    REPORT_FILE,
    RESULT_FILE,
    full_disk_is_told,
    is_finished,
    last_checkpoint,
    make_plan,
    prepare_folder,
    read_numbers,
    write_atomically,
)
from service.train.fit.targets import TargetCodec
from service.train.fit.trainer import make_trainer, training_arguments
from service.train.options import SERVABLE, TrainOptions
from service.train.package import build_file, make_training_record, score
from service.train.preflight import check_file
from service.train.prepare import encode, make_codec, make_config, make_model, prepare, quieten_libraries, respect_quota
from service.train.publish import publish
from service.train.report.curves import read_curves
from service.train.report.page import render_report
from service.train.result import TrainResult


def train(options: TrainOptions, console: Console | None = None) -> TrainResult | None:
    """Train one adapter as `options` say; None on every process of a distributed training but the first.

    Raises TrainingError or adapters.errors.AdapterError, each told in one line.
    """
    console = console or Console(stderr=True, emoji=False)
    quieten_libraries()
    respect_quota()
    options, data, metric = prepare(options)
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
    codec = make_codec(options, config, data)
    check_file(options, data, config, codec)
    if arguments.should_save:
        prepare_folder(options.output, make_plan(options, data, config), options.method, resume=options.resume)
        _announce(console, options, data)
    analysis = None
    if not (options.resume and is_finished(options.output, options.method)):
        with full_disk_is_told(options.output):
            analysis = run_training(options, arguments, data, loaded, config, codec, console)
    return _finish(options, loaded, analysis) if arguments.should_save else None


def run_training(
    options: TrainOptions,
    arguments: transformers.TrainingArguments,
    data: TaskData,
    loaded: LoadedBackbone,
    config: AdapterConfig,
    codec: TargetCodec,
    console: Console,
) -> Analysis | None:
    """From the data, or from the last checkpoint, to the files of the folder; None but on the process that writes."""
    started = time.monotonic()
    train_rows, validation_rows = (encode(split, loaded, codec, config.task) for split in (data.train, data.validation))
    if arguments.should_save:
        lengths = measure_lengths(data.train, train_rows.encodings, loaded.encoder, config.task)
        warn(console, describe_lengths(lengths, loaded.identity.hidden_size, loaded.backbone.max_positions))
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
    training = make_training_record(options, data, codec, epochs)
    served = model.merged() if options.method in SERVABLE else None
    file: bytes | None = None
    if served:
        file, metadata, analysis = build_file(
            served,
            codec,
            loaded,
            data.validation,
            validation_rows,
            training=training,
            dtype=options.dtype,
            seed=options.seed,
        )
    else:
        metadata, analysis = score(model, codec, validation_rows, training=training, seed=options.seed)
    metric, num_parameters = arguments.metric_for_best_model, num_trained(served or model)
    try:
        curves = read_curves(trainer.state.log_history, trainer.state.best_global_step)
        page = render_report(options.task, metric, metadata, num_parameters, data.validation, curves, analysis)
        write_atomically(options.output / REPORT_FILE, page.encode())
    except Exception as error:  # whatever it is: hours of training are not lost for a page about them
        console.print(f"{REPORT_FILE} could not be made: {error!r}; the adapter is not touched by it", markup=False)
    numbers = {
        "task": options.task,
        "method": options.method,
        "metric": metric,
        "metrics": metadata.metrics,
        "num_parameters": num_parameters,
        "num_backbone_parameters": sum(parameter.numel() for parameter in loaded.backbone.parameters()),
        "epochs": epochs,
        "duration_s": round(time.monotonic() - started, 1),
    }
    write_atomically(options.output / RESULT_FILE, json.dumps(numbers, indent=2).encode())
    if file:
        write_atomically(options.output / ADAPTER_FILE, file)  # the last: it tells that the training is finished
    return analysis


def _finish(options: TrainOptions, loaded: LoadedBackbone, analysis: Analysis | None) -> TrainResult:
    report = options.output / REPORT_FILE
    result = TrainResult(
        **read_numbers(options.output), path=None, report=report if report.exists() else None, analysis=analysis
    )
    if options.method not in SERVABLE:
        return result
    path = options.output / ADAPTER_FILE
    file = path.read_bytes()
    adapter = checkpoint.parse(file, loaded.identity)
    verify(loaded, adapter)  # as a server does with an upload; a registry that is written directly cannot
    publication = publish(options.target, options.task, file, path)
    return replace(result, path=path, digest=adapter.digest, publication=publication)


def _announce(console: Console, options: TrainOptions, data: TaskData) -> None:
    scheme = data.scheme
    kind = f"{len(scheme.names)} labels" if scheme.names else "regression"
    source = "held out of the training data" if data.held_out else data.validation.name
    for line in (
        f"task {options.task}: {scheme.type}, {kind}, {'pairs of texts' if data.pair else 'texts'}; {len(data.train)} "
        f"rows to train on, {len(data.validation)} to validate ({source})",
        f"{scheme.type}: {data.because}",
    ):
        console.print(make_printable(line), markup=False, highlight=False, soft_wrap=True)
    warn(console, data.warnings)


def warn(console: Console, warnings: Iterable[str]) -> None:
    """Print warnings about the data, a line each: a log file has no width."""
    for warning in warnings:
        console.print(make_printable(f"warning: {warning}"), markup=False, highlight=False, soft_wrap=True)
