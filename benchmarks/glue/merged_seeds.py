"""One adapter from trainings with several seeds: aligned, averaged and scored."""

from dataclasses import replace

import numpy as np

from adapters.backbone.source import LoadedBackbone
from adapters.config import AdapterConfig
from adapters.serving.inference import forward_encodings
from benchmarks.glue.alignment import average
from benchmarks.glue.alone import train_alone
from benchmarks.glue.grid import Run
from benchmarks.glue.loop import Outcome
from service.train.evaluation.metrics import compute_metrics
from service.train.fit.batches import EncodedRows
from service.train.fit.targets import TargetCodec
from service.train.options import FitOptions
from service.train.prepare import make_model

SEED_STEP = 1000  # between the seeds of two merged runs


def train_merged(
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
    """Train `run.merged_seeds` adapters, and average their last weights; the outcome has one score, of the average.

    Its metrics have `alone`, the mean score of the trainings at their last epoch, too.
    """
    outcomes = []
    for number in range(run.merged_seeds):
        seed = SEED_STEP * run.seed + number
        own = replace(run, seed=seed, merged_seeds=0)
        changed = options.change(seed=seed)
        outcomes.append(
            train_alone(own, changed, config, loaded, train, validation, codec, bfloat16=bfloat16, device=device)
        )
    weights = average([outcome.weights for outcome in outcomes])
    model = make_model(options, config, loaded)
    model.load_state_dict(weights)
    model.to(loaded.backbone.device)
    logits = codec.restore(forward_encodings(model.eval(), validation.encodings))
    metrics = compute_metrics(logits, codec.restore(np.stack(validation.targets)), codec.type)
    alone = float(np.mean([outcome.scores[-1] for outcome in outcomes]))
    return Outcome(
        scores=[metrics[run.metric]],
        best=metrics | {"alone": alone},
        weights=weights,
        num_trained=outcomes[0].num_trained,
    )
