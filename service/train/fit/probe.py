"""The probe: a converged linear model on the pooled vectors of the frozen backbone.

It is the head from which every method starts, the method `head`, and the score that an adapter must surpass.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from adapters.backbone.encoder import Backbone
from adapters.backbone.packing import Packing
from adapters.config import Pooling
from adapters.method.model import AdapterModel, pool
from service.train.fit.batches import EncodedRows, collate
from service.train.fit.linear import Objective, apply_linear, fit_linear, row_losses
from service.train.fit.targets import TargetCodec

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)  # C of scikit-learn: the penalty is 1 / (C N), the strongest first
NUM_FOLDS = 5
MANY_ROWS = 2000  # with more, one fold is enough to choose the penalty
FOLD_ITERATIONS = 200
MAX_ROWS = 20_000  # training rows; more change a linear model little
MAX_CELLS = 10_000_000  # rows times outputs: bounds the memory
MAX_WEIGHT = 1000.0  # an adapter file holds numbers up to 10,000
FLAT = 1e-6  # with a smaller spread, relative to their mean, vectors differ by rounding only
TEXTS = 32  # in a batch


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear head: weight [num_outputs, H] and bias [num_outputs], float64, for pooled vectors as they are."""

    weight: np.ndarray
    bias: np.ndarray
    strength: float  # C, chosen by cross-validation

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """vectors [N, H] -> logits [N, num_outputs] float32, in the scale of the training targets."""
        logits: np.ndarray = (vectors @ self.weight.T + self.bias).astype(np.float32)
        return logits

    @torch.no_grad()
    def copy_to(self, head: nn.Linear) -> None:
        """Overwrite the head of a model."""
        head.weight.copy_(torch.from_numpy(self.weight))
        head.bias.copy_(torch.from_numpy(self.bias))

    @torch.no_grad()
    def replace(self, model: AdapterModel, seed: int) -> None:
        """Overwrite the head of a model, and its adapters with the published start, drawn by `seed`.

        Such adapters change the vectors little. A server refuses adapters that change nothing at all.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model.initialise("published")
        self.copy_to(model.head)


def train_probe(backbone: Backbone, rows: EncodedRows, codec: TargetCodec, pooling: Pooling, seed: int) -> Probe:
    """Pool the training rows once, and fit the probe; of very many rows a part, drawn by `seed`."""
    most = min(MAX_ROWS, MAX_CELLS // codec.num_labels)
    if len(rows) > most:
        rows = rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:most]).tolist())
    return fit_probe(pool_rows(backbone, rows, pooling), np.stack(rows.targets), codec, seed)


@torch.no_grad()
def pool_rows(backbone: Backbone, rows: EncodedRows, pooling: Pooling) -> np.ndarray:
    """The pooled vectors [N, H] float64 of the backbone without adapters, in evaluation mode."""
    backbone.eval()
    device = backbone.device
    order = np.argsort(rows.lengths, kind="stable")
    pooled: list[np.ndarray] = []
    for start in range(0, len(order), TEXTS):
        batch = collate([rows[row] for row in order[start : start + TEXTS]])  # keeps rows that are sorted by length
        packing = Packing.of(batch["lengths"], device)
        hidden = backbone(batch["token_ids"].to(device), batch["type_ids"].to(device), packing)
        pooled.append(pool(hidden, packing, pooling, backbone).double().cpu().numpy())
    vectors = np.concatenate(pooled)
    ordered = np.empty_like(vectors)
    ordered[order] = vectors
    return ordered


def fit_probe(
    vectors: np.ndarray, targets: np.ndarray, codec: TargetCodec, seed: int, strength: float | None = None
) -> Probe:
    """Fit the probe to vectors [N, H] and encoded targets; `seed` draws the folds that choose the penalty.

    A given `strength` is not chosen. The vectors are centred and divided by the root of their mean square, which is
    folded into weight and bias.
    """
    centre = vectors.mean(axis=0)
    x = vectors - centre
    scale = float(np.sqrt((x * x).sum(axis=1).mean()))
    if scale <= FLAT * float(np.linalg.norm(centre)):
        scale = 1.0
    x = x / scale
    y = _target_matrix(targets, codec)
    weights = np.array(codec.weights) if codec.weights else None
    chosen = strength or _choose_strength(x, y, codec, weights, make_folds(targets, codec, seed))
    for used in [value for value in reversed(STRENGTHS) if value <= chosen]:
        theta = fit_linear(Objective(codec.type, x, y, 1 / (used * len(x)), weights))
        weight = theta[:, :-1] / scale
        bias = theta[:, -1] - weight @ centre
        if max(np.abs(weight).max(), np.abs(bias).max()) <= MAX_WEIGHT:
            break
    return Probe(weight, bias, used)


def make_folds(targets: np.ndarray, codec: TargetCodec, seed: int) -> np.ndarray:
    """The fold of each row, [N], drawn by `seed`; the rows of a class are spread evenly over the folds."""
    order = np.random.default_rng(seed).permutation(len(targets))
    if codec.type == "single_label":
        order = order[np.argsort(targets[order], kind="stable")]
    folds = np.empty(len(targets), dtype=np.int64)
    folds[order] = np.arange(len(targets)) % NUM_FOLDS
    return folds


def _choose_strength(
    x: np.ndarray, y: np.ndarray, codec: TargetCodec, weights: np.ndarray | None, folds: np.ndarray
) -> float:
    """The strength with the least loss on held-out rows; rows of a class that is only held out do not count."""
    losses, count = np.zeros(len(STRENGTHS)), 0
    for fold in range(1 if len(x) > MANY_ROWS else NUM_FOLDS):
        rest, held = folds != fold, folds == fold
        if codec.type == "single_label":
            held &= (y @ y[rest].any(axis=0)) > 0
        if not held.any() or not rest.any():
            continue
        count += int(held.sum())
        theta: np.ndarray | None = None
        for index, strength in enumerate(STRENGTHS):
            objective = Objective(codec.type, x[rest], y[rest], 1 / (strength * rest.sum()), weights)
            theta = fit_linear(objective, theta, FOLD_ITERATIONS)
            losses[index] += row_losses(codec.type, apply_linear(theta, x[held]), y[held], weights).sum()
    return STRENGTHS[int(losses.argmin())] if count else 1.0


def _target_matrix(targets: np.ndarray, codec: TargetCodec) -> np.ndarray:
    if codec.type == "single_label":
        one_hot: np.ndarray = np.eye(codec.num_labels)[targets]
        return one_hot
    return targets.astype(np.float64).reshape(len(targets), -1)
