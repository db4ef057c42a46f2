"""Full fine-tuning of the backbone, for comparison: the same data, loop, epochs and choice of checkpoint as
`adakron train`, but every weight of the encoder learns and there are no adapters.

    python -m benchmarks.full_finetuning --task rte --train rte/train.jsonl --validation rte/validation.jsonl

Prints one JSON line and appends it to benchmarks/results/full_finetuning.jsonl.
"""

import argparse
import json
import time
from pathlib import Path
from typing import cast

import torch
import transformers
from rich.console import Console
from torch import Tensor, nn

from adapters.backbone import Backbone, BackboneLayer
from adapters.config import AdapterConfig
from adapters.heads import apply_head, pool
from adapters.packing import Packing
from adapters.source import load_backbone
from service.train.assemble import choose_metric, encode, make_config
from service.train.data import load_data
from service.train.options import MetricName, Overrides, TrainOptions
from service.train.run import quieten_libraries
from service.train.targets import TargetCodec
from service.train.trainer import make_trainer, training_arguments

RESULTS = Path(__file__).parent / "results" / "full_finetuning.jsonl"
DROPOUT = 0.1


class FullModel(nn.Module):
    """The whole encoder and a linear head, all of it trained."""

    def __init__(self, backbone: Backbone, config: AdapterConfig) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(True)
        self.task = config.task
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(config.backbone.hidden_size, config.task.num_outputs)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, token_ids: Tensor, type_ids: Tensor, packing: Packing) -> Tensor:
        """Logits [N, num_outputs]."""
        hidden = self.backbone(token_ids, type_ids, packing)
        pooled = self.dropout(pool(hidden, packing, self.task.pooling, self.backbone))
        return apply_head(pooled, self.head.weight, self.head.bias)


def main() -> None:
    """Train, evaluate the best checkpoint, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--metric")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--mixed-precision", default="no")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    quieten_libraries()
    options = TrainOptions(
        task=given.task,
        train=given.train,
        validation=given.validation,
        output=given.output,
        metric=cast(MetricName | None, given.metric),
        seed=given.seed,
        mixed_precision=given.mixed_precision,
        overrides=Overrides(learning_rate=given.learning_rate, epochs=given.epochs, batch_size=given.batch_size),
    )
    data = load_data(options)
    metric = choose_metric(options, data)
    arguments = training_arguments(
        options.output, options.recipe, metric=metric, seed=options.seed, mixed_precision=options.mixed_precision
    )
    loaded = load_backbone(device=arguments.device)
    config = make_config(options, data, loaded)
    codec = TargetCodec.fit(config.task.type, config.task.num_outputs, data.train.targets)
    rows = [encode(split, loaded, codec, config.task.max_length) for split in (data.train, data.validation)]
    transformers.set_seed(options.seed)
    loaded.backbone.dropout_p = DROPOUT
    for layer in loaded.backbone.layers:
        cast(BackboneLayer, layer).dropout_p = cast(BackboneLayer, layer).attention_dropout_p = DROPOUT
    model = FullModel(loaded.backbone, config).to(arguments.device)
    trainer = make_trainer(
        model, arguments, codec, rows[0], rows[1], patience=options.recipe.patience, console=Console(stderr=True)
    )
    started = time.monotonic()
    trainer.train()
    result = {
        "task": options.task,
        "method": "full",
        "metric": metric,
        "score": round(float(trainer.state.best_metric or 0.0), 4),
        "learning_rate": given.learning_rate,
        "batch_size": options.recipe.batch_size,
        "epochs": trainer.state.epoch,
        "seed": options.seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "duration_s": round(time.monotonic() - started),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))
    with RESULTS.open("a") as file:
        file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
