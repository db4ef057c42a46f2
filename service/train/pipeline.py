"""The life of one training: prepare -> fit -> package -> publish."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, replace

import transformers
from pydantic import JsonValue
from rich.console import Console

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.method.model import AdapterModel
from adapters.serving.verification import verify
from service.errors import make_printable
from service.train.data.load import TaskData
from service.train.evaluation.analysis import Analysis
from service.train.evaluation.comparison import Comparison
from service.train.few_rows import fit_few_rows
from service.train.fit.batches import EncodedRows
from service.train.fit.lengths import describe_lengths, measure_lengths
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
from service.train.fit.probe import pool_rows, train_probe
from service.train.fit.trainer import make_trainer, training_arguments
from service.train.options import TrainOptions
from service.train.package import Fitted, make_training_record, package
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
    options, data, _ = prepare(options, cross_validate=True)
    folder, method, resume = options.folder, options.fit.method, options.publish.resume
    arguments = training_arguments(folder, options.fit)
    setup = assemble(options, data, arguments.device)
    if arguments.should_save:
        prepare_folder(folder, make_plan(options, data, setup.config), method, resume=resume)
        announce(console, options.task, data)
    analysis = None
    if not (resume and is_finished(folder, method)):
        with report_full_disk(folder):
            analysis = run_training(options, arguments, data, setup, console)
    return finish(options, setup.loaded, analysis) if arguments.should_save else None


def run_training(
    options: TrainOptions,
    arguments: transformers.TrainingArguments,
    data: TaskData,
    setup: Setup,
    console: Console,
) -> Analysis | None:
    """Fit the model, from the probe or from the last checkpoint, and write the files of the output folder.

    Returns None on the processes that write nothing.
    """
    started = time.monotonic()
    fit, loaded, task = options.fit, setup.loaded, setup.config.task
    train_rows, validation_rows = (encode(split, setup) for split in (data.train, data.validation))
    if arguments.should_save:
        lengths = measure_lengths(data.train, train_rows.encodings, loaded.encoder, task)
        warn(console, describe_lengths(lengths, loaded.identity.hidden_size, loaded.backbone.max_positions))
    if data.folds:
        crossed = fit_few_rows(fit, setup, train_rows, data.folds, arguments.device, console)
        model, probe, state = crossed.model, crossed.probe, crossed.state
        probe_logits, out_of_fold = crossed.probe_logits, setup.codec.restore(crossed.logits)
    else:
        probe = train_probe(loaded.backbone, train_rows, setup.codec, task.pooling, fit.seed)
        probe_logits, out_of_fold = probe.logits(pool_rows(loaded.backbone, validation_rows, task.pooling)), None
        transformers.set_seed(fit.seed)
        model = make_model(fit, setup.config, loaded, setup.keys)  # some methods change the backbone
        probe.copy_to(model.head)
        if fit.method == "head":  # the probe is converged
            state = transformers.TrainerState()
            model.to(arguments.device)
        else:
            state = _fit(options, arguments, model, setup, (train_rows, validation_rows), console)
    if not arguments.should_save:
        return None
    fitted = Fitted(
        model=model,
        codec=setup.codec,
        loaded=loaded,
        validation=data.validation,
        rows=validation_rows,
        probe=probe,
        probe_logits=setup.codec.restore(probe_logits),
        out_of_fold=out_of_fold,
        num_folds=max(data.folds, default=-1) + 1,
        keys=setup.keys,
    )
    record = make_training_record(fit, data, setup.codec, _epochs(state))
    return write_files(options, fitted, state, record, started, console)


def _fit(
    options: TrainOptions,
    arguments: transformers.TrainingArguments,
    model: AdapterModel,
    setup: Setup,
    rows: tuple[EncodedRows, EncodedRows],
    console: Console,
) -> transformers.TrainerState:
    """Train the model on the first of `rows` with checkpoints chosen on the second; it ends with the best weights."""
    fit = options.fit
    trainer = make_trainer(
        model,
        arguments,
        setup.codec,
        *rows,
        metric=choose_metric(fit.metric, setup.config.task.type),
        patience=fit.hyper_parameters.patience,
        console=console,
    )
    last = last_checkpoint(options.folder) if options.publish.resume else None
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.accelerator.end_training()
    return trainer.state


def write_files(
    options: TrainOptions,
    fitted: Fitted,
    state: transformers.TrainerState,
    record: dict[str, JsonValue],
    started: float,
    console: Console,
) -> Analysis:
    """Package the model, and write its report, its numbers and, last, the adapter: it marks a finished training."""
    fit, folder = options.fit, options.folder
    metric = choose_metric(fit.metric, fitted.codec.type)
    packaged = package(fitted, fit, options.publish.dtype, metric, record)
    metadata, analysis, comparison = packaged.scored.metadata, packaged.scored.analysis, packaged.comparison
    try:
        curves = read_curves(state.log_history, state.best_global_step)
        page = render_report(
            options.task,
            metric,
            metadata,
            packaged.num_parameters,
            fitted.validation,
            curves,
            analysis,
            comparison,
        )
        write_atomically(folder / REPORT_FILE, page.encode())
    except Exception as error:  # a failed report must not cost the training
        console.print(f"{REPORT_FILE} could not be written: {error!r}; the adapter is complete", markup=False)
    numbers = {
        "task": options.task,
        "method": fit.method,
        "metric": metric,
        "metrics": metadata.metrics,
        "comparison": asdict(comparison) if comparison else None,
        "num_parameters": packaged.num_parameters,
        "num_backbone_parameters": sum(parameter.numel() for parameter in fitted.loaded.backbone.parameters()),
        "epochs": _epochs(state),
        "duration_s": round(time.monotonic() - started, 1),
    }
    write_atomically(folder / RESULT_FILE, json.dumps(numbers, indent=2).encode())
    if packaged.file:
        write_atomically(folder / ADAPTER_FILE, packaged.file)
    return analysis


def _epochs(state: transformers.TrainerState) -> float:
    return float(state.epoch or 0.0)


def finish(options: TrainOptions, loaded: LoadedBackbone, analysis: Analysis | None) -> TrainResult:
    """Verify and publish the adapter of a finished training."""
    folder = options.folder
    report = folder / REPORT_FILE
    numbers = read_numbers(folder)
    numbers["comparison"] = Comparison.read(numbers.get("comparison"))
    result = TrainResult(**numbers, path=None, report=report if report.exists() else None, analysis=analysis)
    if options.fit.method not in SERVABLE:
        return result
    path = folder / ADAPTER_FILE
    file = path.read_bytes()
    adapter = checkpoint.parse(file, loaded.identity)
    verify(loaded, adapter)  # a server does this with an upload; a registry that is written directly cannot
    publication = publish(options.publish, options.task, file, path)
    return replace(result, path=path, digest=adapter.digest, publication=publication)


def announce(console: Console, task: str, data: TaskData) -> None:
    """Print how the data of a task is read, and the warnings about it."""
    scheme = data.scheme
    kind = f"{len(scheme.names)} labels" if scheme.names else "regression"
    source = "held out of the training data" if data.held_out else data.validation.name
    source = "by cross-validation" if data.folds else source
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
