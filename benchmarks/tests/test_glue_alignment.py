"""Adapters that compute the same are aligned to the same weights, and averages of them change nothing."""

import pytest
import torch
from torch import Tensor

from adapters.method.adakron import AdaKron
from benchmarks.glue.alignment import align, average

H, P, Q = 16, 6, 3


def drawn(seed: int, q: int = Q) -> AdaKron:
    """An adapter with random weights."""
    torch.manual_seed(seed)
    adapter = AdaKron(H, P, q)
    adapter.initialise("published")
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    return adapter


def disguise(adapter: AdaKron, factor: float) -> AdaKron:
    """The same function with the units in another order and another scale."""
    order_a, order_b = torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([2, 0, 1])
    other = AdaKron(H, P, Q)
    state = adapter.state_dict()
    other.load_state_dict(
        {
            "down_a.weight": factor * state["down_a.weight"][order_a],
            "down_a.bias": factor * state["down_a.bias"][order_a],
            "down_b.weight": state["down_b.weight"][order_b] / factor,
            "down_b.bias": state["down_b.bias"][order_b] / factor,
            "up.weight": state["up.weight"].unflatten(1, (Q, P))[:, order_b][:, :, order_a].flatten(1),
            "up.bias": state["up.bias"],
        }
    )
    return other


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.5, -0.3])
def test_an_adapter_in_disguise_is_found_again(factor: float) -> None:
    """Order, scale and sign come back exactly; the disguise computes the same."""
    adapter, h = drawn(0), torch.randn(9, H)
    other = disguise(adapter, factor)
    torch.testing.assert_close(other(h), adapter(h), atol=1e-4, rtol=1e-4)
    found = align(other.state_dict(), adapter.state_dict())
    for name, weight in adapter.state_dict().items():
        torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=1e-4)


def test_an_alignment_changes_no_output() -> None:
    """To the weights of an adapter with which it has nothing in common, too."""
    own, h = drawn(1), torch.randn(9, H)
    aligned = AdaKron(H, P, Q)
    aligned.load_state_dict(align(own.state_dict(), drawn(2).state_dict()))
    torch.testing.assert_close(aligned(h), own(h), atol=1e-3, rtol=1e-3)


def test_an_average_is_of_aligned_weights() -> None:
    """The average of an adapter and its disguise is the adapter; heads are averaged as they are."""
    adapter = drawn(0)

    def model(member: AdaKron, head: float) -> dict[str, Tensor]:
        layers = {f"layers.{layer}.{name}": tensor for layer in (0, 1) for name, tensor in member.state_dict().items()}
        return layers | {"head.weight": torch.full((2, H), head), "head.bias": torch.zeros(2)}

    merged = average([model(adapter, 1.0), model(disguise(adapter, -2.0), 3.0)])
    assert torch.equal(merged["head.weight"], torch.full((2, H), 2.0))
    for name, weight in adapter.state_dict().items():
        torch.testing.assert_close(merged[f"layers.1.{name}"], weight, atol=1e-5, rtol=1e-4)


def test_a_large_q_is_refused() -> None:
    """Six units of b have 720 orders."""
    with pytest.raises(ValueError, match="q = 6"):
        align(drawn(0, q=6).state_dict(), drawn(1, q=6).state_dict())
