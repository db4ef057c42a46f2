"""Options + data + backbone -> what is trained: configuration, model at its start, encoded rows."""

import os
import sys
from dataclasses import replace

import torch

from adapters.backbone.source import LoadedBackbone
from adapters.config import DEFAULT_BACKBONE, AdapterConfig, Pooling, TaskSpec
from adapters.method.model import AdapterModel
from service.processes.cgroups import usable_cpus
from service.train.data.load import TaskData, load_data
from service.train.data.split import Split
from service.train.errors import TrainingError
from service.train.fit.batches import EncodedRows
from service.train.fit.methods import build_model
from service.train.fit.output_folder import check_folder
from service.train.fit.targets import TargetCodec
from service.train.options import METRICS, MetricName, TrainOptions

LEAST_BATCH = 4  # rows


def prepare(options: TrainOptions) -> tuple[TrainOptions, TaskData, MetricName]:
    """What a training does before it needs the backbone; nothing is written.

    Returns the options with batches that fit the data, the data, and what the best checkpoint is chosen by. Raises
    TrainingError for options, an output folder or data that cannot be used.
    """
    check_options(options)
    check_folder(options)
    data = load_data(options)
    return fit_batches(options, data), data, choose_metric(options, data)


def check_options(options: TrainOptions) -> None:
    """Raises TrainingError where the machine has not what the options ask for."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("--device cuda: PyTorch sees no CUDA device here; use --device auto")
    if options.mixed_precision == "fp16" and (options.device == "cpu" or not torch.cuda.is_available()):
        raise TrainingError("--mixed-precision fp16 needs CUDA; on a CPU use bf16, or no")


def fit_batches(options: TrainOptions, data: TaskData) -> TrainOptions:
    """With smaller batches than the default's where an epoch would have less than ten, unless the caller chose."""
    size = max(LEAST_BATCH, min(options.recipe.batch_size, len(data.train) // 10))
    chosen = options.recipe_name != "default" or options.overrides.batch_size is not None
    if chosen or size >= options.recipe.batch_size:
        return options
    return replace(options, overrides=replace(options.overrides, batch_size=size))


def choose_metric(options: TrainOptions, data: TaskData) -> MetricName:
    """What the best checkpoint is chosen by."""
    possible = METRICS[data.scheme.type]
    if options.metric is None:
        return possible[0]
    if options.metric not in possible:
        raise TrainingError(f"--metric {options.metric}: a {data.scheme.type} task has {', '.join(possible)}")
    return options.metric


def make_config(options: TrainOptions, data: TaskData, loaded: LoadedBackbone) -> AdapterConfig:
    """The adapter's shape, for this data and this backbone."""
    recipe, backbone = options.recipe, loaded.backbone
    if recipe.max_length > backbone.max_positions:
        raise TrainingError(f"--max-length {recipe.max_length}: the backbone takes {backbone.max_positions} tokens")
    return AdapterConfig(
        backbone=loaded.identity,
        p=options.p,
        q=options.q,
        layers=choose_layers(options.layers, loaded.identity.num_layers),
        task=TaskSpec(
            type=data.scheme.type,
            labels=data.scheme.names,
            pair=data.pair,
            pooling=choose_pooling(recipe.pooling, loaded),
            max_length=recipe.max_length,
            truncation=options.truncation,
            special_tokens="text",
        ),
    )


def choose_layers(wanted: str, num_layers: int) -> tuple[int, ...]:
    """Indices of the layers with an adapter: all, the upper half, or those listed."""
    if wanted == "all":
        return tuple(range(num_layers))
    if wanted == "upper":
        return tuple(range(num_layers // 2, num_layers))
    try:
        layers = tuple(sorted({int(index) for index in wanted.split(",")}))
    except ValueError:
        raise TrainingError(f"--layers {wanted}: all, upper, or indices from 0 such as 0,2,5") from None
    if layers[0] < 0 or layers[-1] >= num_layers:
        raise TrainingError(f"--layers {wanted}: the backbone has layers 0 to {num_layers - 1}")
    return layers


def choose_pooling(wanted: Pooling | None, loaded: LoadedBackbone) -> Pooling:
    """What is asked for; else the pooler of a BERT that has one, and the mean for a sentence encoder."""
    has_pooler = loaded.backbone.has_pooler
    if wanted == "pooler" and not has_pooler:
        raise TrainingError(f"--pooling pooler: {loaded.identity.name} comes without a pooler; use mean or cls")
    if wanted is not None:
        return wanted
    return "pooler" if has_pooler and loaded.identity.name != DEFAULT_BACKBONE else "mean"


def make_model(options: TrainOptions, config: AdapterConfig, loaded: LoadedBackbone) -> AdapterModel:
    """The method's model at its start, on the backbone with the recipe's dropout."""
    recipe, backbone = options.recipe, loaded.backbone
    backbone.set_dropout(recipe.dropout)
    model = build_model(options.method, options.experts, backbone, config)
    model.initialise(recipe.initialisation)
    return model


def make_codec(options: TrainOptions, config: AdapterConfig, data: TaskData) -> TargetCodec:
    """How labels become arrays, and how they count in the loss."""
    return TargetCodec.fit(
        config.task.type,
        config.task.num_outputs,
        data.train.targets,
        class_weights=options.class_weights,
        smoothing=options.recipe.label_smoothing,
    )


def encode(split: Split, loaded: LoadedBackbone, codec: TargetCodec, task: TaskSpec) -> EncodedRows:
    """Tokenise a split once, as the task will be served."""
    return EncodedRows(loaded.encoder.encode_for(task, split.inputs), codec.encode(split.targets))


def respect_quota() -> None:
    """No more threads than the container's CPU quota can run at once: torch counts cores only.

    OMP_NUM_THREADS, where the user has set it, stays.
    """
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(torch.get_num_threads(), usable_cpus()))


def quieten_libraries() -> None:
    """No progress bars for files that load at once, no telemetry, no warnings that ask for nothing."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if transformers := sys.modules.get("transformers"):  # a check of the data does without
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
    if datasets := sys.modules.get("datasets"):
        datasets.disable_progress_bars()
        datasets.utils.logging.set_verbosity_error()
