"""Options -> Findings: what `train` does before its first step, and some batches to tell the time."""

import numpy as np
import torch

from adapters.backbone.source import load_backbone
from adapters.config import DEFAULT_BACKBONE
from service.train.assemble import encode, make_codec, make_config, prepare
from service.train.balance import count_labels
from service.train.check.estimate import estimate_time
from service.train.check.findings import Findings, LabelFindings, NumberFindings, PartFindings
from service.train.data import TaskData
from service.train.lengths import describe_lengths, measure_lengths
from service.train.options import TrainOptions
from service.train.quiet import quieten_libraries
from service.train.rehearsal import check_file


def examine(options: TrainOptions) -> Findings:
    """Check a training without training, and without writing anything.

    Raises TrainingError or adapters.errors.AdapterError where the training would be refused.
    """
    quieten_libraries()
    options, data, _ = prepare(options)
    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    loaded = load_backbone(options.backbone or DEFAULT_BACKBONE, device=device)
    config = make_config(options, data, loaded)
    codec = make_codec(options, config, data)
    check_file(options, data, config, codec)
    rows = [encode(split, loaded, codec, config.task) for split in (data.train, data.validation)]
    lengths = [
        measure_lengths(split, encoded.encodings, loaded.encoder, config.task)
        for split, encoded in zip((data.train, data.validation), rows, strict=True)
    ]
    train, validation = (PartFindings.of(item) for item in lengths)
    roles = data.roles
    return Findings(
        task=options.task,
        type=data.scheme.type,
        because=data.because,
        text_column=roles.text,
        pair_column=roles.pair,
        label_columns=roles.labels or (roles.label,),
        held_out=data.held_out,
        train=train,
        validation=validation,
        labels=_count(data),
        numbers=_describe_numbers(data),
        max_length=config.task.max_length,
        batch_size=options.recipe.batch_size,
        estimate=estimate_time(options, config, loaded, codec, *rows),
        warnings=(
            *data.warnings,
            *describe_lengths(lengths[0], loaded.identity.hidden_size, loaded.backbone.max_positions),
        ),
    )


def _count(data: TaskData) -> tuple[LabelFindings, ...]:
    names = data.scheme.names
    if not names:
        return ()
    counts = (count_labels(part.targets, len(names)).tolist() for part in (data.train, data.validation))
    return tuple(LabelFindings(*item) for item in zip(names, *counts, strict=True))


def _describe_numbers(data: TaskData) -> NumberFindings | None:
    if data.scheme.type != "regression":
        return None
    values = np.array(data.train.targets, dtype=np.float64)
    return NumberFindings(float(values.min()), float(values.mean()), float(values.max()))
