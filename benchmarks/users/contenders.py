"""Answers for annotators: one shared adapter, a gate for each user, an adapter for each user, an adapted gate."""

import csv
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.gates import GatedAdapter
from adapters.method.gated import UNKNOWN, GatedModel
from adapters.serving.inference import forward_encodings, predict_logits, to_gated_model
from benchmarks.users.annotators import Row
from service.train import pipeline
from service.train.adapt import fit_gate
from service.train.fit.batches import EncodedRows
from service.train.fit.targets import TargetCodec
from service.train.options import TrainOptions

EPOCHS = 10


@dataclass(frozen=True)
class Setting:
    """The settings that all trainings of a call share."""

    backbone: str
    device: str
    epochs: int = EPOCHS


def share_right(truth: Sequence[Row], answers: Sequence[str]) -> float:
    """The share of rows that were answered as labelled."""
    return float(np.mean([row.label == answer for row, answer in zip(truth, answers, strict=True)]))


def by_user(truth: Sequence[Row], answers: Sequence[str]) -> dict[str, float]:
    """`share_right` of each user."""
    users: dict[str, list[int]] = {}
    for at, row in enumerate(truth):
        users.setdefault(row.user, []).append(at)
    return {
        user: share_right([truth[at] for at in places], [answers[at] for at in places])
        for user, places in users.items()
    }


def shared(train: Sequence[Row], test: Sequence[Row], loaded: LoadedBackbone, setting: Setting) -> list[str]:
    """`adakron train` on the rows of all users, without their names."""
    adapter = checkpoint.parse_plain(_train(train, setting, gate=None))
    logits = predict_logits(loaded, adapter, [row.texts for row in test])
    return _labels(logits, adapter.metadata.task.labels)


def gated(train: Sequence[Row], test: Sequence[Row], loaded: LoadedBackbone, setting: Setting) -> list[str]:
    """`adakron train --gate user` on the rows of all users."""
    adapter = train_gated(train, setting)
    keys = [adapter.gates.find(adapter.gates.config.digest(row.user)) for row in test]
    encodings = loaded.encoder.encode_for(adapter.metadata.task, [row.texts for row in test])
    numbers = np.array([UNKNOWN if key is None else key for key in keys])
    logits = forward_encodings(to_gated_model(loaded, adapter), encodings, keys=numbers)
    return _labels(logits, adapter.metadata.task.labels)


def train_gated(train: Sequence[Row], setting: Setting) -> GatedAdapter:
    """Train a gated file."""
    adapter = checkpoint.parse(_train(train, setting, gate="user"))
    assert isinstance(adapter, GatedAdapter)
    return adapter


def own(train: Sequence[Row], test: Sequence[Row], loaded: LoadedBackbone, setting: Setting) -> list[str]:
    """`adakron train` on the rows of one user; a user with one label in all rows is answered with it."""
    if len(labels := {row.label for row in train}) == 1 or min(_counts(train)) < 2:
        most = max(labels, key=lambda label: sum(row.label == label for row in train))
        return [most] * len(test)
    return shared(train, test, loaded, setting)


def adapted(
    model: GatedModel, adapter: GatedAdapter, train: Sequence[Row], test: Sequence[Row], loaded: LoadedBackbone
) -> tuple[list[str], list[str]]:
    """The answers for a user whom the training did not know: with the mean gate, and with a gate fitted on `train`."""
    task = adapter.metadata.task
    codec = TargetCodec("single_label", len(task.labels))
    rows = EncodedRows(
        loaded.encoder.encode_for(task, [row.texts for row in train]),
        codec.encode([task.labels.index(row.label) for row in train]),
    )
    gate = fit_gate(model, adapter.gates.mean.float(), rows, codec)
    encodings = loaded.encoder.encode_for(task, [row.texts for row in test])
    answers = []
    for chosen in (adapter.gates.mean.float(), gate):
        model.gates.assign(chosen.unsqueeze(0).expand(model.gates.own.shape))
        logits = forward_encodings(model, encodings, keys=np.zeros(len(test), dtype=np.int64))
        answers.append(_labels(logits, task.labels))
    return answers[0], answers[1]


def _counts(rows: Sequence[Row]) -> list[int]:
    return [sum(row.label == label for row in rows) for label in sorted({row.label for row in rows})]


def _labels(logits: np.ndarray, labels: Sequence[str]) -> list[str]:
    return [labels[int(best)] for best in logits.argmax(axis=1)]


def _train(rows: Sequence[Row], setting: Setting, gate: str | None) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("sentence1", "sentence2", "label", "user"))
            writer.writerows((*row.texts, row.label, row.user) for row in rows)
        options = TrainOptions.of(
            task="similar",
            train=str(folder / "rows.csv"),
            gate=gate,
            output=folder / "run",
            backbone=setting.backbone,
            device="cpu" if setting.device == "cpu" else "auto",
            epochs=setting.epochs,
            mixed_precision="no",
        )
        result = pipeline.train(options, Console(quiet=True))
        assert result is not None
        assert result.path is not None
        return result.path.read_bytes()
