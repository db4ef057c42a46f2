"""Options + data + backbone -> what is trained: configuration, model at its start, encoded rows."""

import torch

from adapters.config import DEFAULT_BACKBONE, AdapterConfig, Pooling, TaskSpec
from adapters.model import AdapterModel
from adapters.source import LoadedBackbone
from service.core import TASK_NAME
from service.train.collator import EncodedRows
from service.train.data import TaskData
from service.train.errors import TrainingError
from service.train.options import METRICS, MetricName, TrainOptions
from service.train.split import Split
from service.train.targets import TargetCodec


def check_options(options: TrainOptions) -> None:
    """Raises TrainingError for a bad name, or where the machine has not what the options ask for."""
    if not TASK_NAME.fullmatch(options.task):
        raise TrainingError(f"task {options.task!r}: a name is 1 to 63 of a-z, 0-9 and -, and begins with no -")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("--device cuda: PyTorch sees no CUDA device here; use --device auto")
    if options.mixed_precision == "fp16" and (options.device == "cpu" or not torch.cuda.is_available()):
        raise TrainingError("--mixed-precision fp16 needs CUDA; on a CPU use bf16, or no")


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
        layers=tuple(range(loaded.identity.num_layers)),
        task=TaskSpec(
            type=data.scheme.type,
            labels=data.scheme.names,
            pair=data.pair,
            pooling=choose_pooling(recipe.pooling, loaded),
            max_length=recipe.max_length,
        ),
    )


def choose_pooling(wanted: Pooling | None, loaded: LoadedBackbone) -> Pooling:
    """What is asked for; else the pooler of a BERT that has one, and the mean for a sentence encoder."""
    has_pooler = loaded.backbone.has_pooler
    if wanted == "pooler" and not has_pooler:
        raise TrainingError(f"--pooling pooler: {loaded.identity.name} comes without a pooler; use mean or cls")
    if wanted is not None:
        return wanted
    return "pooler" if has_pooler and loaded.identity.name != DEFAULT_BACKBONE else "mean"


def make_model(options: TrainOptions, config: AdapterConfig, loaded: LoadedBackbone) -> AdapterModel:
    """The adapter at its start, on the backbone with the recipe's dropout."""
    recipe, backbone = options.recipe, loaded.backbone
    backbone.dropout_p = recipe.dropout
    for layer in backbone.layers:
        for name in ("dropout_p", "attention_dropout_p"):
            setattr(layer, name, recipe.dropout)
    model = AdapterModel(backbone, config)
    model.initialise(recipe.initialisation, recipe.gain)
    return model


def encode(split: Split, loaded: LoadedBackbone, codec: TargetCodec, max_length: int) -> EncodedRows:
    """Tokenise a split once."""
    return EncodedRows(loaded.encoder.encode(split.inputs, max_length=max_length), codec.encode(split.targets))
