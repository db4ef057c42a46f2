"""One process of the runner: loads data and backbone once, trains stacks, answers with the lines of their runs."""

import copy
import time
from dataclasses import dataclass
from datetime import date
from functools import cache
from math import isnan
from pathlib import Path
from typing import Any

import torch
import transformers

from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.backbone.text_encoder import TextInput
from benchmarks.glue.alone import train_alone
from benchmarks.glue.grid import Run, record
from benchmarks.glue.loop import Outcome, train_stack
from benchmarks.glue.merged_seeds import train_merged
from benchmarks.glue.side_by_side import Group
from service.train.data.load import TaskData, load_data
from service.train.fit.batches import EncodedRows
from service.train.fit.targets import TargetCodec
from service.train.options import TrainOptions
from service.train.package import library_versions
from service.train.prepare import make_config, make_model, quieten_libraries

VALIDATION_SPLITS = ("validation", "test")  # the first that there is


@dataclass(frozen=True)
class Setting:
    """The settings that all runs of a call share."""

    data: str  # a folder of TASK/SPLIT.jsonl, or hub
    backbone: str
    device: str
    bfloat16: bool


def initialise(setting: Setting) -> None:
    """Set up a worker process."""
    quieten_libraries()
    if setting.device != "cpu":
        torch.set_num_threads(1)  # the processes share the cores; a GPU does the work
        torch.set_float32_matmul_precision("high")


def options_of(run: Run, setting: Setting, output: Path = Path("runs")) -> TrainOptions:
    """Return the options of `adakron train` for this run."""
    if setting.data == "hub":
        train, validation = f"glue/{run.task}", "glue/mnli:validation_matched" if run.task == "mnli" else None
    else:
        folder = Path(setting.data) / run.task
        splits = [folder / f"{split}.jsonl" for split in VALIDATION_SPLITS]
        train, validation = (
            str(folder / "train.jsonl"),
            str(next((path for path in splits if path.exists()), splits[0])),
        )
    return TrainOptions.of(
        task=run.task,
        train=train,
        validation=validation,
        output=output,
        method=run.method,
        experts=run.experts,
        bottleneck=run.bottleneck,
        q=run.q,
        layers=run.layers,
        **run.hyper_parameters,
        metric=run.metric,
        seed=run.seed,
        backbone=setting.backbone,
    )


@cache
def backbone_of(setting: Setting) -> LoadedBackbone:
    """The backbone on the CPU, loaded once; to be copied, not changed."""
    return load_backbone(setting.backbone)


@cache
def data_of(task: str, setting: Setting) -> TaskData:
    """A task's checked data."""
    return load_data(options_of(Run(task, "adakron", 1, 1e-3, epochs=1), setting).data, seed=1)


@cache
def rows_of(task: str, setting: Setting, max_length: int) -> tuple[TargetCodec, EncodedRows, EncodedRows]:
    """A task's codec, training rows and validation rows."""
    data, loaded = data_of(task, setting), backbone_of(setting)
    scheme = data.scheme
    codec = TargetCodec.fit(scheme.type, max(1, len(scheme.names)), data.train.targets)

    def encode(inputs: list[TextInput], targets: list[Any]) -> EncodedRows:
        return EncodedRows(loaded.encoder.encode(inputs, max_length=max_length), codec.encode(targets))

    return codec, encode(data.train.inputs, data.train.targets), encode(data.validation.inputs, data.validation.targets)


def make_groups(stack: list[list[Run]], setting: Setting) -> list[tuple[list[Run], Group]]:
    """Make the runs' models with the initial weights that each would have alone, on a copy of the backbone."""
    source = backbone_of(setting)
    loaded = LoadedBackbone(copy.deepcopy(source.backbone).to(setting.device), source.source)
    drawn = []
    for runs in stack:
        models = []
        for run in runs:
            options = options_of(run, setting)
            config = make_config(options.fit, data_of(run.task, setting), loaded)
            transformers.set_seed(run.seed)
            models.append(make_model(options.fit, config, loaded).to(setting.device))
        drawn.append((runs, models))
    dtype = torch.bfloat16 if setting.bfloat16 else torch.float32
    return [(runs, Group(models, dtype)) for runs, models in drawn]


def train(stack: list[list[Run]], setting: Setting) -> list[dict[str, Any]]:
    """A line for each run of a stack, in order."""
    started = time.monotonic()
    runs = [run for group in stack for run in group]
    codec, training, validation = rows_of(
        runs[0].task, setting, options_of(runs[0], setting).fit.hyper_parameters.max_length
    )
    if len(runs) == 1:
        outcomes = [train_one(runs[0], setting, training, validation, codec)]
    else:
        outcomes = train_stack(make_groups(stack, setting), training, validation, codec)
    if setting.device == "cuda":
        torch.cuda.empty_cache()
    seconds = time.monotonic() - started
    return [
        _line(run, outcome, setting, len(runs), seconds, sum(training.lengths))
        for run, outcome in zip(runs, outcomes, strict=True)
    ]


def train_one(
    run: Run, setting: Setting, training: EncodedRows, validation: EncodedRows, codec: TargetCodec
) -> Outcome:
    """Train one run alone, on a copy of the backbone."""
    options, source = options_of(run, setting), backbone_of(setting)
    loaded = LoadedBackbone(copy.deepcopy(source.backbone).to(setting.device), source.source)
    config = make_config(options.fit, data_of(run.task, setting), loaded)
    train_run = train_merged if run.merged_seeds else train_alone
    return train_run(
        run, options.fit, config, loaded, training, validation, codec, bfloat16=setting.bfloat16, device=setting.device
    )


def _line(
    run: Run, outcome: Outcome, setting: Setting, side_by_side: int, seconds: float, num_tokens: int
) -> dict[str, Any]:
    identity = backbone_of(setting).identity
    return {
        **record(run),
        "metric": run.metric,
        "score": max(outcome.scores),
        "scores": outcome.scores,
        "averaged": None if isnan(outcome.averaged) else outcome.averaged,
        "metrics": outcome.best,
        "parameters": outcome.num_trained,
        "tokens": num_tokens * run.epochs,
        "side_by_side": side_by_side,
        "stack_seconds": round(seconds, 1),
        "backbone": identity.name,
        "weights_sha256": identity.weights_sha256,
        "device": torch.cuda.get_device_name() if setting.device == "cuda" else setting.device,
        "precision": _precision(setting, side_by_side),
        "versions": library_versions(),
        "date": date.today().isoformat(),
    }


def _precision(setting: Setting, side_by_side: int) -> str:
    if setting.bfloat16:
        return "bfloat16 autocast" if side_by_side == 1 else "bfloat16"
    return "float32" if setting.device == "cpu" else "tf32"
