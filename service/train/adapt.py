"""`adakron adapt`: fit the gate of one key on a few rows, with everything else of a gated file frozen."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adapters import checkpoint
from adapters.adapter import AdapterMetadata
from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone
from adapters.config import DIGEST_BYTES, GATE_KEYS, GATE_MEAN, GATE_TABLE
from adapters.gates import MAX_KEYS, GatedAdapter
from adapters.method.gated import GatedModel
from adapters.serving.inference import to_gated_model
from service.train.data.load import read_rows
from service.train.errors import TrainingError
from service.train.fit.batches import EncodedRows, attention_kernel, collate
from service.train.fit.targets import TargetCodec, loss
from service.train.options import DataOptions

MAX_ROWS = 1000  # more are a training with --gate
STEPS = 30
LEARNING_RATE = 0.2  # of logits, at first; it falls to zero
STRENGTH = 0.05  # of the penalty on the distance of the logits from their start, as if by so many rows
LEAST = 1e-6  # a gate's weight of zero would never grow
BATCH = 32  # rows


@dataclass(frozen=True)
class Adapted:
    """A gated file with the fitted gate of one key, and the effect on the rows that it was fitted on."""

    data: bytes
    num_rows: int
    is_new: bool  # the key had no gate before
    loss: tuple[float, float]  # mean over the rows, before and after
    measure: str  # of `scores`: accuracy (for several labels, of each yes or no), or rmse
    scores: tuple[float, float]  # of the rows, before and after


def adapt(data: bytes, loaded: LoadedBackbone, key: tuple[str, str], options: DataOptions) -> Adapted:
    """Fit a gate for `key`, the name of a field and its value, on the rows that `options` name.

    Raises TrainingError for a plain file, another field, or rows that do not fit the task; CheckpointError for a file
    that is damaged or made for another backbone; GateKeyError for a key that cannot have a gate.
    """
    gated = checkpoint.parse(data, loaded.identity)
    field, value = key
    if not isinstance(gated, GatedAdapter):
        raise TrainingError("the task has no gates, so no key can be adapted; train it with --gate COLUMN")
    if field != gated.gates.config.field:
        raise TrainingError(f"the gates of the task are by {gated.gates.config.field}, not by {field[:64]}")
    digest = gated.gates.config.digest(value)
    row = gated.gates.find(digest)
    if row is None and len(gated.gates.digests) >= MAX_KEYS:
        raise TrainingError(f"the file has gates for {MAX_KEYS:,} keys, the most that it can hold; train it again")
    rows, codec = _encode(gated, loaded, options)
    model = to_gated_model(loaded, gated)
    start = (gated.gates.mean if row is None else gated.gates.table[row]).float()
    gate = fit_gate(model, start, rows, codec)
    before, after = (_score(model, alphas, rows, codec) for alphas in (start, gate))
    stored = _serialize(with_gate(gated, digest, gate))
    measure = "rmse" if codec.type == "regression" else "accuracy"
    return Adapted(stored, len(rows), row is None, (before[0], after[0]), measure, (before[1], after[1]))


def fit_gate(model: GatedModel, start: Tensor, rows: EncodedRows, codec: TargetCodec) -> Tensor:
    """Return the gate [L, K] float32 on the CPU that fits `rows` best, near `start` [L, K].

    Minimizes, by STEPS of Adam on the logits of the softmax, the mean loss of the n rows plus
    STRENGTH / (2 n) times the squared distance of the logits from their start. A regression's losses are divided by
    the first mean loss, because they have the scale of the data. The weights of `model` do not change.
    """
    device = model.backbone.device
    model.requires_grad_(False)
    anchor = start.clamp(min=LEAST).log().to(device)
    logits = anchor.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=LEARNING_RATE)
    scale: float | None = None if codec.type == "regression" else 1.0
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / STEPS)
        optimizer.zero_grad()
        total = 0.0
        for batch in _batches(rows, device):
            value = loss(_forward(model, logits.softmax(-1), batch), batch["labels"], codec, training=False)
            value = value * (len(batch["labels"]) / len(rows))
            total += value.item()
            (value if scale is None else value / scale).backward()  # type: ignore[no-untyped-call]
        if scale is None:
            scale = max(total, 1e-12)
            logits.grad = None if logits.grad is None else logits.grad / scale
        (STRENGTH / (2 * len(rows)) * (logits - anchor).square().sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return logits.detach().softmax(-1).cpu()


def with_gate(gated: GatedAdapter, digest: bytes, gate: Tensor) -> GatedAdapter:
    """Return `gated` with this gate [L, K] for the key with this digest; the mean gate stays as it was trained."""
    gates = gated.gates
    rows = [row.tobytes() for row in gates.digests]
    at = bisect_left(rows, digest)
    rest = at + 1 if gates.find(digest) is not None else at
    own = gate.unsqueeze(0).to(gates.table.dtype)
    table = torch.cat([gates.table[:at], own, gates.table[rest:]])
    digests = np.frombuffer(b"".join([*rows[:at], digest, *rows[rest:]]), np.uint8).reshape(-1, DIGEST_BYTES).copy()
    return replace(gated, gates=replace(gates, digests=digests, table=table))


def _serialize(gated: GatedAdapter) -> bytes:
    gates, training = gated.gates, dict(gated.metadata.training)
    adapted = training.get("adapted_keys", 0)
    training["adapted_keys"] = (adapted if isinstance(adapted, int) else 0) + 1
    metadata: AdapterMetadata = gated.metadata.model_copy(update={"training": training})
    tensors = {GATE_KEYS: torch.from_numpy(gates.digests), GATE_TABLE: gates.table, GATE_MEAN: gates.mean}
    return checkpoint.serialize(metadata, {**gated.tensors, **tensors}, gates.table.dtype)


def _encode(gated: GatedAdapter, loaded: LoadedBackbone, options: DataOptions) -> tuple[EncodedRows, TargetCodec]:
    task = gated.metadata.task
    split = read_rows(options, task)
    if len(split) > MAX_ROWS:
        raise TrainingError(
            f"{split.name}: {len(split):,} rows; a gate is fitted on at most {MAX_ROWS:,}, more are a training with "
            "--gate"
        )
    codec = TargetCodec(task.type, task.num_outputs)
    return EncodedRows(loaded.encoder.encode_for(task, split.inputs), codec.encode(split.targets)), codec


def _batches(rows: EncodedRows, device: torch.device) -> Sequence[dict[str, Any]]:
    """The rows in packed batches, the shortest first."""
    ordered = rows.shortest_first()
    batches = []
    for start in range(0, len(ordered), BATCH):
        batch = collate([ordered[row] for row in range(start, min(start + BATCH, len(ordered)))])
        batches.append({name: item.to(device) if isinstance(item, Tensor) else item for name, item in batch.items()})
    return batches


def _forward(model: GatedModel, gate: Tensor, batch: dict[str, Any]) -> Tensor:
    device = model.backbone.device
    packing = Packing.of(batch["lengths"], device)
    with attention_kernel(gate.requires_grad, device):
        return model.mix(batch["token_ids"], batch["type_ids"], packing, gate.unsqueeze(0))


@torch.no_grad()
def _score(model: GatedModel, gate: Tensor, rows: EncodedRows, codec: TargetCodec) -> tuple[float, float]:
    """Return the mean loss of `rows` with a gate, and the score that `Adapted` names."""
    device = model.backbone.device
    batches = _batches(rows, device)
    logits = torch.cat([_forward(model, gate.to(device), batch) for batch in batches]).float().cpu()
    targets = torch.cat([batch["labels"] for batch in batches]).cpu()
    value = loss(logits, targets, codec, training=False).item()
    if codec.type == "regression":
        return value, value**0.5
    right = logits.argmax(1) == targets if codec.type == "single_label" else (logits >= 0) == (targets >= 0.5)
    return value, right.float().mean().item()
