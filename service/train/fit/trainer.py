"""transformers' Trainer on packed batches; it brings mixed precision, several GPUs, checkpoints and logs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from transformers import EvalPrediction, PrinterCallback, Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import TrainerCallback

from service.train.evaluation.interval import constant_score
from service.train.evaluation.metrics import compute_metrics
from service.train.fit.batches import EncodedRows, LengthSampler, PackedModel, collate
from service.train.fit.progress import ProgressLines
from service.train.fit.selection import SELECTION, Patience, rank
from service.train.fit.targets import TargetCodec, loss
from service.train.options import FitOptions, MetricName


class PackedTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped
    """Trainer with packed batches of similar length, the loss of the task, and checkpoints ranked by score and loss."""

    def __init__(
        self, model: PackedModel, codec: TargetCodec, metric: MetricName, progress: ProgressLines, **arguments: Any
    ) -> None:
        self._codec, self._metric, self._progress = codec, metric, progress
        super().__init__(model=model, data_collator=collate, compute_metrics=self._score, **arguments)
        self.loss_is_scaled_for_ga = False  # a mean over each batch
        self.remove_callback(PrinterCallback)  # prints dictionaries
        self.add_callback(progress)

    def train(self, *arguments: Any, **others: Any) -> Any:
        """Train as Trainer does, and remove the progress bar even if the training is interrupted."""
        try:
            return super().train(*arguments, **others)
        finally:
            self._progress.close()

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of the task on a packed batch."""
        logits = model(inputs["token_ids"], inputs["type_ids"], inputs["lengths"], inputs.get("keys"))
        value = loss(logits, inputs["labels"], self._codec, training=model.training)
        return (value, {"logits": logits}) if return_outputs else value

    def _get_train_sampler(self, train_dataset: EncodedRows | None = None) -> LengthSampler:
        rows = train_dataset or self.train_dataset
        # the batches of one step, over all processes, are of similar length
        return LengthSampler(rows.lengths, self.args.train_batch_size * self.args.world_size, self.args.seed)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Take the later of two checkpoints that are equal in score and loss; else do as Trainer does."""
        if metrics[f"eval_{SELECTION}"] == self.state.best_metric:
            self.state.best_global_step = self.state.global_step
            return True
        return bool(super()._determine_best_metric(metrics=metrics, trial=trial))

    def _score(self, prediction: EvalPrediction) -> dict[str, float]:
        logits, targets = (np.asarray(values) for values in (prediction.predictions, prediction.label_ids))
        value = loss(torch.tensor(logits), torch.tensor(targets), self._codec, training=False).item()
        scores = compute_metrics(self._codec.restore(logits), self._codec.restore(targets), self._codec.type)
        return scores | {SELECTION: rank(scores[self._metric], value)}


def training_arguments(folder: Path, options: FitOptions) -> TrainingArguments:
    """Trainer's arguments, which decide the device; `folder` gets the checkpoints and the TensorBoard logs."""
    recipe, evaluate_every = options.hyper_parameters, options.evaluate_every
    use_cpu = options.device == "cpu" or not torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=2 * recipe.batch_size,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=recipe.warmup,
        lr_scheduler_type="linear",
        max_grad_norm=recipe.clip,
        optim="adamw_torch_fused",
        eval_strategy="steps" if evaluate_every else "epoch",
        save_strategy="steps" if evaluate_every else "epoch",
        eval_steps=evaluate_every,
        save_steps=evaluate_every or 500,
        save_total_limit=2,  # the best and the last
        load_best_model_at_end=True,
        metric_for_best_model=SELECTION,
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,  # early stopping goes on counting
        report_to="none",  # TensorBoard has its own folder, see make_trainer
        disable_tqdm=True,  # progress.py replaces it
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_num_workers=0,
        dataloader_pin_memory=not use_cpu,
        ddp_find_unused_parameters=False,
        bf16=options.mixed_precision == "bf16",
        fp16=options.mixed_precision == "fp16",
        use_cpu=use_cpu,
        seed=options.seed,
        log_level="error",
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # Trainer would split packed batches by rows; accelerate launch uses all GPUs
    return arguments


def make_trainer(
    model: nn.Module,
    arguments: TrainingArguments,
    codec: TargetCodec,
    train: EncodedRows,
    validation: EncodedRows,
    *,
    metric: MetricName,
    patience: int,
    console: Console,
) -> PackedTrainer:
    """Make the trainer of a module (token_ids, type_ids, packing) -> logits; its trainable parameters learn.

    `metric` chooses the best checkpoint; of equal ones, the validation loss chooses.
    """
    steps_per_epoch = -(-len(train) // (arguments.train_batch_size * arguments.world_size))
    # log a loss before the first evaluation, and often enough for a curve
    arguments.logging_steps = max(1, min(20, steps_per_epoch, int(arguments.eval_steps or 20)))
    floor = constant_score(np.stack(validation.targets), codec.type, codec.num_labels, metric)
    callbacks: list[TrainerCallback] = [Patience(patience, metric=metric, floor=floor)]
    if arguments.should_save:
        callbacks.append(TensorBoardCallback(SummaryWriter(str(Path(arguments.output_dir).with_name("logs")))))
    return PackedTrainer(
        PackedModel(model),
        codec,
        metric,
        ProgressLines(console, metric, len(validation)),
        args=arguments,
        train_dataset=train,
        eval_dataset=validation.shortest_first(),
        callbacks=callbacks,
    )
