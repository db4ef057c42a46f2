"""One run by `adakron train`'s own loop: slow, and the reference of the stacked runs."""

import tempfile
from dataclasses import replace
from pathlib import Path

import transformers
from rich.console import Console

from adapters.backbone.source import LoadedBackbone
from adapters.config import AdapterConfig
from benchmarks.glue.grid import Run
from benchmarks.glue.loop import Outcome
from benchmarks.glue.parameter_groups import make_optimizer
from benchmarks.glue.variants import VARIANTS, VariantModel, make_variant
from service.train.fit.batches import EncodedRows
from service.train.fit.methods import num_trained
from service.train.fit.targets import TargetCodec
from service.train.fit.trainer import make_trainer, training_arguments
from service.train.options import FitOptions
from service.train.prepare import make_model

# entries of an evaluation that are not metrics, without "eval_"
NOT_METRICS = ("loss", "selection", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


def train_alone(
    run: Run,
    options: FitOptions,
    config: AdapterConfig,
    loaded: LoadedBackbone,
    train: EncodedRows,
    validation: EncodedRows,
    codec: TargetCodec,
    *,
    bfloat16: bool,
    device: str,
) -> Outcome:
    """Train all epochs of a run, and store nothing."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(
            Path(folder) / "run",
            options.change(mixed_precision="bf16" if bfloat16 else "no", device=device),
        )
        arguments.load_best_model_at_end = False
        arguments.save_strategy = transformers.trainer_utils.SaveStrategy.NO
        transformers.set_seed(run.seed)
        variant = VARIANTS[run.variant] if run.variant else None
        model = make_variant(options, config, loaded, variant) if variant else make_model(options, config, loaded)
        codec = replace(codec, smoothing=run.label_smoothing)
        quiet = Console(quiet=True)
        trainer = make_trainer(
            model, arguments, codec, train, validation, metric=run.metric, patience=run.epochs, console=quiet
        )
        if isinstance(model, VariantModel):
            trainer.optimizer = make_optimizer(model, arguments)
        trainer.train()
    key = f"eval_{run.metric}"
    evaluations = [entry for entry in trainer.state.log_history if key in entry]
    best = max(evaluations, key=lambda entry: entry[key])
    return Outcome(
        scores=[entry[key] for entry in evaluations],
        best={
            name.removeprefix("eval_"): value
            for name, value in best.items()
            if name.startswith("eval_") and name[5:] not in NOT_METRICS
        },
        weights={name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad},
        num_trained=num_trained(model),
    )
