"""Dense layers: the packed one computes what the differentiable one does, and each row on its own."""

import pytest
import torch
from torch.nn import functional as F

from adapters.backbone.layers import Dense, PackedDense, can_pack, packed_rows
from adapters.backbone.tiled import fastest_dense

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
    """Both layers agree to 1e-5 for every activation."""
    plain = dense(activation)
    packed = PackedDense(plain)
    x = torch.randn(num_rows, 48)
    assert torch.allclose(packed(x), plain(x), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("width", "out"), [(48, 96), (384, 1536), (1536, 384)])
@torch.inference_mode()
def test_a_row_depends_on_itself_alone(dtype: torch.dtype, width: int, out: int) -> None:
    """However many rows stand around it, however many threads compute, a row's result is the same bit for bit."""
    fastest = fastest_dense(torch.device("cpu"), dtype)
    if fastest is None:
        pytest.skip("oneDNN does not compute in bfloat16 here")
    torch.manual_seed(2)
    packed = fastest(Dense(width, out, activation="gelu").requires_grad_(False).eval().to(dtype))
    x = torch.randn(777, width).to(dtype)
    whole = packed(x)
    before = torch.get_num_threads()
    try:
        for num_threads in (1, 2, 8):
            torch.set_num_threads(num_threads)
            for number in (1, 2, 3, 15, 16, 31, 64, 500):
                assert torch.equal(packed(x[:number]), whole[:number])
                assert torch.equal(packed(x[-number:]), whole[-number:])
    finally:
        torch.set_num_threads(before)


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
