"""The life of one training: prepare -> fit -> package -> publish."""

import json
import time
from collections.abc import Iterable
from dataclasses import replace

import transformers
from rich.console import Console

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.method.model import AdapterModel
from adapters.serving.verification import verify
from service.errors import make_printable
from service.train.data.load import TaskData
from service.train.evaluation.analysis import Analysis
from service.train.fit.batches import EncodedRows
from service.train.fit.lengths import describe_lengths, measure_lengths
from service.train.fit.methods import num_trained
from service.train.fit.output_folder import (
    ADAPTER_FILE,
    REPORT_FILE,
    RESULT_FILE,
    is_finished,
    last_checkpoint,
    make_plan,
    prepare_folder,
    read_numbers,
    report_full_disk,
    write_atomically,
)
from service.train.fit.trainer import make_trainer, training_arguments
from service.train.options import TrainOptions
from service.train.package import build_file, make_training_record, score
from service.train.prepare import (
    Setup,
    assemble,
    choose_metric,
    encode,
    make_model,
    prepare,
)
from service.train.publish import publish
from service.train.recipes import SERVABLE
from service.train.report.curves import read_curves
from service.train.report.page import render_report
from service.train.result import TrainResult


def train(options: TrainOptions, console: Console | None = None) -> TrainResult | None:
    """Train one adapter; returns None on every process of a distributed training except the first.

    Raises TrainingError or adapters.errors.AdapterError; their messages have one line.
    """
    console = console or Console(stderr=True, emoji=False)
    options, data, _ = prepare(options)
    folder, method, resume = options.folder, options.fit.method, options.publish.resume
    arguments = training_arguments(folder, options.fit)
    setup = assemble(options, data, arguments.device)
    if arguments.should_save:
        prepare_folder(folder, make_plan(options, data, setup.config), method, resume=resume)
        _announce(console, options.task, data)
    analysis = None
    if not (resume and is_finished(folder, method)):
        with report_full_disk(folder):
            analysis = run_training(options, arguments, data, setup, console)
    return _finish(options, setup.loaded, analysis) if arguments.should_save else None


def run_training(
    options: TrainOptions,
    arguments: transformers.TrainingArguments,
    data: TaskData,
    setup: Setup,
    console: Console,
) -> Analysis | None:
    """Fit the model, from its start or from the last checkpoint, and write the files of the output folder.

    Returns None on the processes that write nothing.
    """
    started = time.monotonic()
    fit, loaded = options.fit, setup.loaded
    train_rows, validation_rows = (encode(split, setup) for split in (data.train, data.validation))
    if arguments.should_save:
        lengths = measure_lengths(data.train, train_rows.encodings, loaded.encoder, setup.config.task)
        warn(console, describe_lengths(lengths, loaded.identity.hidden_size, loaded.backbone.max_positions))
    transformers.set_seed(fit.seed)
    model = make_model(fit, setup.config, loaded)
    trainer = make_trainer(
        model,
        arguments,
        setup.codec,
        train_rows,
        validation_rows,
        metric=choose_metric(fit.metric, data.scheme.type),
        patience=fit.hyper_parameters.patience,
        console=console,
    )
    last = last_checkpoint(options.folder) if options.publish.resume else None
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.accelerator.end_training()
    if not arguments.should_save:
        return None
    return _write_files(options, model, trainer.state, data, setup, validation_rows, started, console)


def _write_files(
    options: TrainOptions,
    model: AdapterModel,
    state: transformers.TrainerState,
    data: TaskData,
    setup: Setup,
    rows: EncodedRows,
    started: float,
    console: Console,
) -> Analysis:
    """Package the model, and write its report, its numbers and, last, the adapter: it marks a finished training."""
    fit, folder = options.fit, options.folder
    metric = choose_metric(fit.metric, data.scheme.type)
    epochs = float(state.epoch or 0.0)
    record = make_training_record(fit, data, setup.codec, epochs)
    file: bytes | None = None
    if fit.method in SERVABLE:
        model = model.merged()
        file, metadata, analysis = build_file(
            model,
            setup.codec,
            setup.loaded,
            data.validation,
            rows,
            training=record,
            dtype=options.publish.dtype,
            seed=fit.seed,
        )
    else:
        metadata, analysis = score(model, setup.codec, rows, training=record, seed=fit.seed)
    try:
        curves = read_curves(state.log_history, state.best_global_step)
        page = render_report(options.task, metric, metadata, num_trained(model), data.validation, curves, analysis)
        write_atomically(folder / REPORT_FILE, page.encode())
    except Exception as error:  # a failed report must not cost the training
        console.print(f"{REPORT_FILE} could not be written: {error!r}; the adapter is complete", markup=False)
    numbers = {
        "task": options.task,
        "method": fit.method,
        "metric": metric,
        "metrics": metadata.metrics,
        "num_parameters": num_trained(model),
        "num_backbone_parameters": sum(parameter.numel() for parameter in setup.loaded.backbone.parameters()),
        "epochs": epochs,
        "duration_s": round(time.monotonic() - started, 1),
    }
    write_atomically(folder / RESULT_FILE, json.dumps(numbers, indent=2).encode())
    if file:
        write_atomically(folder / ADAPTER_FILE, file)
    return analysis


def _finish(options: TrainOptions, loaded: LoadedBackbone, analysis: Analysis | None) -> TrainResult:
    """Verify and publish the adapter of a finished training."""
    folder = options.folder
    report = folder / REPORT_FILE
    result = TrainResult(
        **read_numbers(folder), path=None, report=report if report.exists() else None, analysis=analysis
    )
    if options.fit.method not in SERVABLE:
        return result
    path = folder / ADAPTER_FILE
    file = path.read_bytes()
    adapter = checkpoint.parse(file, loaded.identity)
    verify(loaded, adapter)  # a server does this with an upload; a registry that is written directly cannot
    publication = publish(options.publish, options.task, file, path)
    return replace(result, path=path, digest=adapter.digest, publication=publication)


def _announce(console: Console, task: str, data: TaskData) -> None:
    scheme = data.scheme
    kind = f"{len(scheme.names)} labels" if scheme.names else "regression"
    source = "held out of the training data" if data.held_out else data.validation.name
    for line in (
        f"task {task}: {scheme.type}, {kind}, {'pairs of texts' if data.pair else 'texts'}; {len(data.train)} "
        f"rows to train on, {len(data.validation)} to validate ({source})",
        f"{scheme.type}: {data.because}",
    ):
        console.print(make_printable(line), markup=False, highlight=False, soft_wrap=True)
    warn(console, data.warnings)


def warn(console: Console, warnings: Iterable[str]) -> None:
    """Print warnings about the data, one line each, whatever the width of the terminal."""
    for warning in warnings:
        console.print(make_printable(f"warning: {warning}"), markup=False, highlight=False, soft_wrap=True)
