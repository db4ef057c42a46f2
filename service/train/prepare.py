"""Options + data + backbone -> everything that a training needs before its first step. Nothing is written."""

import os
import sys
from dataclasses import dataclass
from typing import cast

import torch

from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.config import (
    DEFAULT_BACKBONE,
    GATED_VERSION,
    AdapterConfig,
    GatesConfig,
    Pooling,
    TaskSpec,
    TaskType,
)
from adapters.method.gated import GatedModel
from adapters.method.model import AdapterModel
from service.processes.cgroups import usable_cpus
from service.train.data.load import TaskData, load_data
from service.train.data.split import Split
from service.train.errors import DataError, TrainingError
from service.train.fit.batches import EncodedRows
from service.train.fit.keys import KeyTable, check_gated, make_salt
from service.train.fit.methods import build_model
from service.train.fit.output_folder import check_folder
from service.train.fit.targets import TargetCodec
from service.train.options import FileDtype, FitOptions, MetricName, TrainOptions
from service.train.preflight import check_file
from service.train.recipes import SERVABLE

MIN_BATCH_SIZE = 4  # texts
MIN_EPOCHS, CROSS_STEPS = 4, 40  # of a cross-validated training
MAX_FLOAT16 = 60_000  # largest label of a regression in a float16 file
METRICS: dict[TaskType, tuple[MetricName, ...]] = {  # the first one is the default
    "single_label": ("accuracy", "f1", "matthews"),
    "multi_label": ("micro_f1", "f1"),
    "regression": ("pearson", "spearman"),
}


@dataclass(frozen=True)
class Setup:
    """The parts that a training puts together."""

    loaded: LoadedBackbone
    config: AdapterConfig
    codec: TargetCodec
    keys: KeyTable | None = None  # of a gated training


def prepare(options: TrainOptions, *, cross_validate: bool = False) -> tuple[TrainOptions, TaskData, MetricName]:
    """Check the options, the output folder and the data; the backbone is not needed.

    With `cross_validate`, few rows may be cross-validated, if the options allow it. Returns the options with batches
    that fit the data, the data, and the metric that chooses the best checkpoint.
    Raises TrainingError for options, an output folder or data that cannot be used.
    """
    quieten_libraries()
    limit_threads()
    fit, publish = options.fit, options.publish
    check_machine(fit)
    if options.data.gate:
        check_gated(fit)
    check_folder(options.folder, publish)
    data = load_data(
        options.data,
        seed=fit.seed,
        weighted=fit.class_weights != "none",
        cross_validate=cross_validate
        and options.data.cross_validate
        and options.data.gate is None
        and can_cross_validate(fit),
    )
    if data.scheme.type == "regression":
        check_regression(fit, publish.dtype, data)
    size = choose_batch_size(fit, len(data.train))
    options = options.change(batch_size=size)
    if data.folds:
        options = options.change(epochs=choose_epochs(fit, len(data.train), size))
    return options, data, choose_metric(fit.metric, data.scheme.type)


def assemble(
    options: TrainOptions, data: TaskData, device: torch.device | str, loaded: LoadedBackbone | None = None
) -> Setup:
    """Load the backbone, unless it is `loaded`, and check that the adapter file can be written.

    Raises TrainingError or adapters.errors.AdapterError if the training cannot end well.
    """
    loaded = loaded or load_backbone(options.fit.backbone or DEFAULT_BACKBONE, device=device)
    config = make_config(options.fit, data, loaded)
    codec = make_codec(options.fit, config, data)
    keys = KeyTable.of(config.gates, data.train.keys) if config.gates else None
    check_file(options, data, config, codec, keys)
    return Setup(loaded, config, codec, keys)


def check_machine(options: FitOptions) -> None:
    """Raise TrainingError if this machine lacks the GPU that the options need."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("--device cuda: PyTorch sees no CUDA device here; use --device auto")
    if options.mixed_precision == "fp16" and (options.device == "cpu" or not torch.cuda.is_available()):
        raise TrainingError("--mixed-precision fp16 needs CUDA; on a CPU use bf16, or no")


def check_regression(options: FitOptions, dtype: FileDtype, data: TaskData) -> None:
    """Raise TrainingError for options that need classes, or DataError for a label that the file cannot hold."""
    if options.class_weights != "none":
        raise TrainingError("--class-weights: a regression has no classes to weigh; leave it out")
    if options.hyper_parameters.label_smoothing:
        raise TrainingError("--label-smoothing: a regression has no classes to smooth; leave it out")
    for split in (data.train, data.validation):
        row, largest = max(enumerate(cast(list[float], split.targets)), key=lambda item: abs(item[1]))
        if dtype == "float16" and abs(largest) > MAX_FLOAT16:
            raise DataError(
                f"{split.place(row)}: {largest:g} is too large for --dtype float16; leave that out, or rescale"
            )


def choose_batch_size(options: FitOptions, num_rows: int) -> int:
    """The batch size of the options; by default a smaller one if an epoch would have less than ten batches."""
    size = options.hyper_parameters.batch_size
    if options.recipe != "default" or options.batch_size is not None:
        return size
    return min(size, max(MIN_BATCH_SIZE, num_rows // 10))


def can_cross_validate(options: FitOptions) -> bool:
    """Whether the method's trainings can run side by side: only its site differs, and no gradient is scaled."""
    return options.method in SERVABLE and options.mixed_precision != "fp16"


def choose_epochs(options: FitOptions, num_rows: int, batch_size: int) -> int:
    """The epochs of a cross-validated training: by default fewer than the recipe's if these have many steps."""
    epochs = options.hyper_parameters.epochs
    if options.recipe != "default" or options.epochs is not None:
        return epochs
    return min(epochs, max(MIN_EPOCHS, -(-CROSS_STEPS // -(-num_rows // batch_size))))


def choose_metric(wanted: MetricName | None, task_type: TaskType) -> MetricName:
    """The metric that chooses the best checkpoint. Raises TrainingError if the type of task lacks it."""
    possible = METRICS[task_type]
    if wanted is not None and wanted not in possible:
        raise TrainingError(f"--metric {wanted}: a {task_type} task has {', '.join(possible)}")
    return wanted or possible[0]


def make_config(options: FitOptions, data: TaskData, loaded: LoadedBackbone) -> AdapterConfig:
    """The adapter's shape for this data and this backbone."""
    recipe, backbone = options.hyper_parameters, loaded.backbone
    if recipe.max_length > backbone.max_positions:
        raise TrainingError(f"--max-length {recipe.max_length}: the backbone takes {backbone.max_positions} tokens")
    key = data.roles.key
    gates = key and GatesConfig(field=key, num_experts=options.experts, salt=make_salt(options.seed, data.train.sha256))
    return AdapterConfig(
        format_version=GATED_VERSION if gates else 2,
        gates=gates or None,
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
        raise TrainingError(f"--layers {wanted}: use all, upper, or indices from 0 such as 0,2,5") from None
    if layers[0] < 0 or layers[-1] >= num_layers:
        raise TrainingError(f"--layers {wanted}: the backbone has layers 0 to {num_layers - 1}")
    return layers


def choose_pooling(wanted: Pooling | None, loaded: LoadedBackbone) -> Pooling:
    """The wanted pooling; by default the pooler of a BERT that has one, and the mean for a sentence encoder."""
    has_pooler = loaded.backbone.has_pooler
    if wanted == "pooler" and not has_pooler:
        raise TrainingError(f"--pooling pooler: {loaded.identity.name} has no pooler; use mean or cls")
    if wanted is not None:
        return wanted
    return "pooler" if has_pooler and loaded.identity.name != DEFAULT_BACKBONE else "mean"


def make_model(
    options: FitOptions, config: AdapterConfig, loaded: LoadedBackbone, keys: KeyTable | None = None
) -> AdapterModel:
    """The initialised model of the method, or a gated one of `keys`, on the backbone with the recipe's dropout."""
    recipe, backbone = options.hyper_parameters, loaded.backbone
    backbone.set_dropout(recipe.dropout)
    if keys is None:
        model = build_model(options.method, options.experts, backbone, config)
    else:
        model = GatedModel(backbone, config, options.experts, len(keys))
    model.initialise(recipe.initialisation)
    return model


def make_codec(options: FitOptions, config: AdapterConfig, data: TaskData) -> TargetCodec:
    """The codec of the training targets, with class weights and label smoothing."""
    return TargetCodec.fit(
        config.task.type,
        config.task.num_outputs,
        data.train.targets,
        class_weights=options.class_weights,
        smoothing=options.hyper_parameters.label_smoothing,
    )


def encode(split: Split, setup: Setup) -> EncodedRows:
    """Tokenize a split once, as a server will tokenize the task's inputs."""
    encodings = setup.loaded.encoder.encode_for(setup.config.task, split.inputs)
    keys = setup.keys.number(split.keys) if setup.keys else None
    return EncodedRows(encodings, setup.codec.encode(split.targets), keys)


def limit_threads() -> None:
    """Let torch use at most as many threads as the container's CPU quota; torch itself counts cores.

    OMP_NUM_THREADS takes precedence.
    """
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(torch.get_num_threads(), usable_cpus()))


def quieten_libraries() -> None:
    """Turn off telemetry, and the progress bars and warnings of the libraries that are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if transformers := sys.modules.get("transformers"):
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
    if datasets := sys.modules.get("datasets"):
        datasets.disable_progress_bars()
        datasets.utils.logging.set_verbosity_error()
