"""Dense layers: the packed one computes what the differentiable one does, and each row on its own."""

import pytest
import torch
from torch.nn import functional as F

from adapters.backbone.layers import Dense, PackedDense, can_pack, packed_rows

pytestmark = pytest.mark.skipif(
    not can_pack(torch.device("cpu"), torch.float32), reason="packed weights are for x86 with oneDNN"
)


def dense(activation: str | None) -> Dense:
    torch.manual_seed(1)
    return Dense(48, 96, activation=activation).requires_grad_(False).eval()


@pytest.mark.parametrize("activation", [None, "gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("num_rows", [1, 2, 17, 300])
@torch.inference_mode()
def test_packed_equals_plain(activation: str | None, num_rows: int) -> None:
    """Both layers agree to 1e-5 for every activation, and with a residual."""
    plain = dense(activation)
    packed = PackedDense(plain)
    x, residual = torch.randn(num_rows, 48), torch.randn(num_rows, 96)
    assert torch.allclose(packed(x), plain(x), atol=1e-5)
    if activation is None:
        assert torch.allclose(packed(x, residual=residual), plain(x, residual=residual), atol=1e-5)


@torch.inference_mode()
def test_a_row_depends_on_itself_alone() -> None:
    """However many rows stand below it, a row's result is the same bit for bit."""
    packed = PackedDense(dense("gelu"))
    x = torch.randn(777, 48)
    whole = packed(x)
    assert all(torch.equal(packed(x[:number]), whole[:number]) for number in (2, 3, 16, 31, 64, 500))


def test_residual_is_added_after_dropout() -> None:
    """Dropout in training applies to the product, not to the residual."""
    layer = Dense(8, 8, dropout_p=1.0).train()
    residual = torch.randn(3, 8)
    assert torch.equal(layer(torch.randn(3, 8), residual=residual), residual)


def test_plain_is_linear_and_activation() -> None:
    """The differentiable one is the equation, with gradients."""
    layer = Dense(4, 6, activation="gelu")
    x = torch.randn(5, 4, requires_grad=True)
    assert torch.equal(layer(x), F.gelu(F.linear(x, layer.weight, layer.bias)))
    layer(x).sum().backward()
    assert x.grad is not None


def test_numbers_of_rows_are_few() -> None:
    """Every number is rounded up by at most a sixteenth and 15, to one of less than a hundred below 4,096."""
    rounded = [packed_rows(number) for number in range(1, 4097)]
    assert all(number <= found <= number * 17 / 16 + 15 for number, found in enumerate(rounded, 1))
    assert len(set(rounded)) < 100


def test_only_where_it_runs() -> None:
    """Neither on a GPU nor in float16."""
    assert not can_pack(torch.device("cuda"), torch.float32)
    assert not can_pack(torch.device("cpu"), torch.float16)


@pytest.mark.parametrize("supported", [False, True])
def test_bfloat16_needs_instructions_for_it(supported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 is served without packing on an x86 processor whose oneDNN does not support it."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert can_pack(torch.device("cpu"), torch.bfloat16) == supported
