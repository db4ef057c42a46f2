"""`adakron train --tasks`: several tasks trained together, from shared experts to one plain adapter for each.

With gates, K experts of the down-projections are common to all tasks and each task mixes them by a gate of its own in
each layer. Without, all tasks have one adapter: the control of the gate. Each task has its own head.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import transformers
from pydantic import JsonValue
from rich.console import Console

from adapters.backbone.source import LoadedBackbone
from adapters.errors import AdapterError
from adapters.method.gated import GatedModel, share
from service.train.data.load import TaskData
from service.train.errors import TrainingError
from service.train.evaluation.analysis import Analysis
from service.train.fit.batches import EncodedRows
from service.train.fit.joint import JointOutcome, JointTask, fit_together
from service.train.fit.keys import check_gated
from service.train.fit.output_folder import is_finished, make_plan, prepare_folder, report_full_disk
from service.train.fit.probe import Probe, pool_rows, train_probe
from service.train.options import MetricName, TrainOptions
from service.train.package import Fitted, make_training_record
from service.train.pipeline import announce, finish, write_files
from service.train.prepare import Setup, assemble, encode, prepare
from service.train.result import TrainResult


@dataclass(frozen=True)
class Sharing:
    """How the tasks share; the adapter files record it."""

    tasks: tuple[str, ...]
    gated: bool
    experts: int
    temperature: float  # of sampling

    @property
    def record(self) -> dict[str, JsonValue]:
        """The entry in the training record."""
        record: dict[str, JsonValue] = {"tasks": list(self.tasks), "sampling_temperature": self.temperature}
        if not self.gated:
            return record | {"gate": "none"}
        return record | {"gate": "task", "experts": self.experts}


@dataclass(frozen=True, eq=False)
class _Task:
    """A task that is ready to be trained."""

    options: TrainOptions
    data: TaskData
    metric: MetricName
    setup: Setup


@dataclass(frozen=True, eq=False)
class _Rows:
    """The encoded rows of a task, and its probe."""

    train: EncodedRows
    validation: EncodedRows
    probe: Probe


def train_tasks(
    tasks: Sequence[TrainOptions], *, gated: bool, temperature: float, console: Console | None = None
) -> list[TrainResult]:
    """Train the tasks together, and write and publish a plain adapter for each; return the results in their order.

    Raises TrainingError or adapters.errors.AdapterError; their messages have one line and name the task.
    """
    console = console or Console(stderr=True, emoji=False)
    first = tasks[0]
    _check(first, gated=gated)
    sharing = Sharing(tuple(item.task for item in tasks), gated, first.fit.experts if gated else 1, temperature)
    prepared = _prepare(tasks)
    resume = first.publish.resume
    finished = resume and all(is_finished(task.options.folder, task.options.fit.method) for task in prepared)
    for task in prepared:
        plan = make_plan(task.options, task.data, task.setup.config) | {"together": sharing.record}
        prepare_folder(task.options.folder, plan, task.options.fit.method, resume=finished)
        announce(console, task.options.task, task.data)
    analyses = [None] * len(prepared) if finished else _train(prepared, sharing, console)
    return [
        finish(task.options, task.setup.loaded, analysis) for task, analysis in zip(prepared, analyses, strict=True)
    ]


def _check(options: TrainOptions, *, gated: bool) -> None:
    """Raise TrainingError for options that a joint training does not have."""
    fit = options.fit
    if gated:
        check_gated(fit)
    if fit.method != "adakron":
        raise TrainingError(f"--tasks trains AdaKron, not --method {fit.method}; leave that out")
    if fit.mixed_precision == "fp16":
        raise TrainingError("--tasks has no --mixed-precision fp16; use bf16, or no")
    if fit.evaluate_every is not None:
        raise TrainingError("--tasks scores each task after an epoch; leave out --evaluate-every")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainingError("--tasks trains in one process; start it without accelerate launch")


def _prepare(tasks: Sequence[TrainOptions]) -> list[_Task]:
    prepared: list[_Task] = []
    loaded: LoadedBackbone | None = None
    for task in tasks:
        try:
            options, data, metric = prepare(task)
            on_gpu = options.fit.device != "cpu" and torch.cuda.is_available()
            setup = assemble(options, data, "cuda" if on_gpu else "cpu", loaded)
        except (TrainingError, AdapterError) as error:
            raise TrainingError(f"task {task.task}: {error}") from error
        loaded = setup.loaded
        prepared.append(_Task(options, data, metric, setup))
    return prepared


def _train(tasks: Sequence[_Task], sharing: Sharing, console: Console) -> list[Analysis]:
    """Fit all tasks, then write the files of each."""
    started = time.monotonic()
    rows = [_encode(task) for task in tasks]
    models = _make_models(tasks, rows, sharing)
    joint = [
        JointTask(task.options.task, model, task.setup.codec, own.train, own.validation, task.metric, task.options.fit)
        for task, own, model in zip(tasks, rows, models, strict=True)
    ]
    with report_full_disk(tasks[0].options.folder.parent):
        outcomes = fit_together(joint, temperature=sharing.temperature, console=console)
        return [
            _write(task, own, outcome, sharing, started, console)
            for task, own, outcome in zip(tasks, rows, outcomes, strict=True)
        ]


def _encode(task: _Task) -> _Rows:
    setup, data = task.setup, task.data
    train, validation = (encode(split, setup) for split in (data.train, data.validation))
    pooling, seed = setup.config.task.pooling, task.options.fit.seed
    return _Rows(train, validation, train_probe(setup.loaded.backbone, train, setup.codec, pooling, seed))


def _make_models(tasks: Sequence[_Task], rows: Sequence[_Rows], sharing: Sharing) -> list[GatedModel]:
    """A model for each task; all have the same experts and gates, and each its probe as its head."""
    fit, backbone = tasks[0].options.fit, tasks[0].setup.loaded.backbone
    transformers.set_seed(fit.seed)
    backbone.set_dropout(fit.hyper_parameters.dropout)
    models = [GatedModel(backbone, task.setup.config, sharing.experts, len(tasks)) for task in tasks]
    share(models)
    models[0].initialise(fit.hyper_parameters.initialisation)
    for model, own in zip(models, rows, strict=True):
        own.probe.copy_to(model.head)
        model.to(backbone.device)
    return models


def _write(
    task: _Task, rows: _Rows, outcome: JointOutcome, sharing: Sharing, started: float, console: Console
) -> Analysis:
    fit, setup = task.options.fit, task.setup
    vectors = pool_rows(setup.loaded.backbone, rows.validation, setup.config.task.pooling)
    fitted = Fitted(
        model=outcome.model,
        codec=setup.codec,
        loaded=setup.loaded,
        validation=task.data.validation,
        rows=rows.validation,
        probe=rows.probe,
        probe_logits=setup.codec.restore(rows.probe.logits(vectors)),
    )
    state = transformers.TrainerState(
        epoch=outcome.epochs, log_history=list(outcome.log_history), best_global_step=outcome.best_step
    )
    record = make_training_record(fit, task.data, setup.codec, outcome.epochs) | {"together": sharing.record}
    return write_files(task.options, fitted, state, record, started, console)
