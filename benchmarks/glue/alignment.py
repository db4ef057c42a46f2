"""Adapters of several seeds in one: each is brought into the order and the scale of the first, then averaged.

An AdaKron adapter computes the same if the units of a, or those of b, change places (with the columns of W_up), and if
a is multiplied by a number and b divided by it. So the weights of two seeds mean the same only after an alignment:
the weight matching of Git Re-Basin (Ainsworth, Hayase and Srinivasa, ICLR 2023), here solved exactly.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from math import factorial

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Weights = Mapping[str, Tensor]  # down_a.weight, down_a.bias, ..., up.bias of one adapter

MAX_ORDERS = 120  # of b's units; each is tried


def align(own: Weights, reference: Weights) -> dict[str, Tensor]:
    """The adapter `own` with the order of units, the scale and the sign that bring it closest to `reference`.

    It computes what `own` computes. Raises ValueError if q! is more than MAX_ORDERS.
    """
    a, b, up = _parts(own)
    to_a, to_b, to_up = _parts(reference)
    p, q = len(a), len(b)
    if factorial(q) > MAX_ORDERS:
        raise ValueError(f"q = {q}: too many orders to try")
    ratio = to_b.norm() / b.norm().clamp(min=1e-12)
    a, b = a / ratio, b * ratio
    near_a, near_b = to_a @ a.T, to_b @ b.T  # [p, p] and [q, q]; the first index is the reference's
    near_up = torch.einsum("hji,hkl->jkil", to_up, up)  # [q, q, p, p]
    best, found = -np.inf, (1.0, np.arange(p), np.arange(q))
    for order_b in map(list, permutations(range(q))):
        fixed = near_up[torch.arange(q), order_b].sum(0)
        for sign in (1.0, -1.0):
            likeness = (sign * near_a + fixed).double().numpy()
            _, order_a = linear_sum_assignment(likeness, maximize=True)
            total = likeness[np.arange(p), order_a].sum() + sign * float(near_b[torch.arange(q), order_b].sum())
            if total > best:
                best, found = total, (sign, order_a, np.array(order_b))
    sign, chosen_a, chosen_b = found
    a, b = sign * a[chosen_a], sign * b[chosen_b]
    return {
        "down_a.weight": a[:, :-1],
        "down_a.bias": a[:, -1],
        "down_b.weight": b[:, :-1],
        "down_b.bias": b[:, -1],
        "up.weight": up[:, chosen_b][:, :, chosen_a].flatten(1),
        "up.bias": own["up.bias"].cpu(),
    }


def average(states: Sequence[Weights]) -> dict[str, Tensor]:
    """The mean of whole models' weights, `layers.0.down_a.weight` ... `head.bias`, each aligned to the first's."""
    first = states[0]
    prefixes = list(dict.fromkeys(name.rsplit(".", 2)[0] for name in first if name.startswith("layers.")))
    aligned = [dict(first)]
    for state in states[1:]:
        whole = {name: tensor.cpu() for name, tensor in state.items()}
        for prefix in prefixes:
            own = align(_take(state, prefix), _take(first, prefix))
            whole |= {f"{prefix}.{name}": tensor for name, tensor in own.items()}
        aligned.append(whole)
    return {name: torch.stack([state[name].cpu() for state in aligned]).mean(0) for name in first}


def _take(state: Weights, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in state.items() if name.startswith(f"{prefix}.")}


def _parts(weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of a [p, H + 1] and of b [q, H + 1], each with its bias, and W_up as [H, q, p]."""
    a, b = (
        torch.cat([weights[f"{name}.weight"], weights[f"{name}.bias"].unsqueeze(1)], 1).cpu()
        for name in ("down_a", "down_b")
    )
    return a, b, weights["up.weight"].cpu().unflatten(1, (len(b), len(a)))
