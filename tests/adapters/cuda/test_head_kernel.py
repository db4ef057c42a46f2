"""The pooling and head kernel against the written-out equation; interpreted on machines without a GPU."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed (it comes with the dev extra on Linux)")

from adapters.cuda.head_kernel import POOLING_CODES, pool_and_classify
from tests.support.kernels import DEVICE, widest

# three heads; sequences of 1, 40, 2, 17 and 0 tokens
NUM_OUTPUTS = (2, 77, 1)
LENGTHS = (1, 40, 2, 17, 0)
SEGMENTS = (0, 0, 1, 2, 0)


def run(pooling: str, dtype: torch.dtype, hidden_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits of the kernel, between two unused numbers, and those of the equation."""
    hidden, first = torch.randn(sum(LENGTHS), hidden_size).to(dtype), torch.randn(len(LENGTHS), hidden_size).to(dtype)
    heads = [(torch.randn(count, hidden_size), torch.randn(count)) for count in NUM_OUTPUTS]
    bounds = [0, *torch.tensor(LENGTHS).cumsum(0).tolist()]
    sequences, expected, at = [], [torch.full((1,), 7.0)], 1
    for n, (segment, length) in enumerate(zip(SEGMENTS, LENGTHS, strict=True)):
        num_outputs = NUM_OUTPUTS[segment] if length else 0
        sequences.append([segment, POOLING_CODES[pooling], num_outputs, at])  # type: ignore[index]
        if length:
            rows = hidden[bounds[n] : bounds[n + 1]].float()
            pooled = {"mean": rows.mean(0), "cls": rows[0], "pooler": first[n].float()}[pooling]
            expected.append(heads[segment][0] @ pooled + heads[segment][1])
        at += num_outputs
    expected.append(torch.full((1,), 7.0))
    on_device = [(weight.to(DEVICE), bias.to(DEVICE)) for weight, bias in heads]
    got = pool_and_classify(
        hidden.to(DEVICE),
        first.to(DEVICE),
        torch.tensor(bounds, dtype=torch.int32, device=DEVICE),
        torch.tensor(sequences, dtype=torch.int32, device=DEVICE),
        torch.tensor([[weight.data_ptr(), bias.data_ptr()] for weight, bias in on_device], device=DEVICE),
        torch.full((at + 1,), 7.0, device=DEVICE),
    )
    return got.cpu(), torch.cat(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("pooling", POOLING_CODES)
def test_equals_the_equation(pooling: str, dtype: torch.dtype) -> None:
    """Each sequence is pooled in its task's way and gets its segment's head, in float32 for any backbone dtype."""
    got, expected = run(pooling, dtype, 48)
    assert got.shape == expected.shape
    assert widest(got - expected) < 2e-5


@pytest.mark.parametrize("hidden_size", [384, 768, 1024])
def test_hidden_sizes_of_real_backbones(hidden_size: int) -> None:
    """The sums do not depend on the number of blocks of columns."""
    got, expected = run("mean", torch.float16, hidden_size)
    assert widest(got - expected) < 1e-4
