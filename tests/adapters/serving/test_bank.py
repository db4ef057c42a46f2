"""AdapterBank: slots, sizes, and what a write may not touch."""

import pytest
import torch

from adapters.serving.bank import AdapterBank, SegmentRows
from tests.support.factories import make_adapter, make_gated
from tests.support.reference import adakron_equation

pytestmark = pytest.mark.usefixtures("kernels")


def test_applies_the_equation_to_its_rows_only() -> None:
    """Each segment gets its own adapter's equation, in place; other rows stay bit for bit."""
    bank = AdapterBank(32, "cpu", torch.float32)
    adapters = [make_adapter(seed=0), make_adapter(seed=1, p=2, q=8)]
    for slot, adapter in enumerate(adapters):
        bank.write(slot, adapter)
    h = torch.randn(10, 32)
    before = h.clone()
    result = bank.apply(1, h, [SegmentRows(1, 0, 3), SegmentRows(0, 5, 9)])
    assert result is h
    assert torch.allclose(h[:3], adakron_equation(before[:3], adapters[1], 1), atol=1e-5)
    assert torch.allclose(h[5:9], adakron_equation(before[5:9], adapters[0], 1), atol=1e-5)
    assert torch.equal(h[3:5], before[3:5])
    assert torch.equal(h[9:], before[9:])


def test_layers_without_an_adapter_pass_through() -> None:
    """An adapter of the upper layer only leaves the lower one as it is."""
    bank = AdapterBank(32, "cpu", torch.float32)
    bank.write(0, make_adapter(layers=(1,)))
    h = torch.randn(4, 32)
    before = h.clone()
    assert torch.equal(bank.apply(0, h, [SegmentRows(0, 0, 4)]), before)
    assert not torch.equal(bank.apply(1, h, [SegmentRows(0, 0, 4)]), before)


def test_float16_files_are_served_in_the_banks_type() -> None:
    """Weights stored as float16 are cast once, when they are written."""
    bank = AdapterBank(32, "cpu", torch.float32)
    adapter = make_adapter(dtype=torch.float16)
    bank.write(0, adapter)
    h = torch.randn(4, 32)
    expected = adakron_equation(h, adapter, 0)
    assert torch.allclose(bank.apply(0, h.clone(), [SegmentRows(0, 0, 4)]), expected, atol=1e-6)


def test_heads_of_different_widths() -> None:
    """Each slot has its own head with its own number of outputs."""
    bank = AdapterBank(32, "cpu", torch.float32)
    two, five = make_adapter(), make_adapter(labels=("a", "b", "c", "d", "e"))
    bank.write(0, two)
    bank.write(1, five)
    pooled = torch.randn(3, 32)
    assert bank.logits(0, pooled).shape == (3, 2)
    expected = pooled @ five.tensors["head.weight"].T + five.tensors["head.bias"]
    assert torch.allclose(bank.logits(1, pooled), expected, atol=1e-6)


def test_rewriting_a_slot_leaves_no_trace() -> None:
    """A slot written twice serves the second adapter exactly as a fresh bank does."""
    reused, fresh = (AdapterBank(32, "cpu", torch.float32) for _ in range(2))
    reused.write(0, make_adapter(seed=1, p=8))
    reused.write(0, make_adapter(seed=2))
    fresh.write(0, make_adapter(seed=2))
    h = torch.randn(4, 32)
    rows = [SegmentRows(0, 0, 4)]
    assert torch.equal(reused.apply(0, h.clone(), rows), fresh.apply(0, h.clone(), rows))


@pytest.mark.parametrize("in_file", [torch.float16, torch.float32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_laid_out_once_serves_each_time_as_written_anew(in_file: torch.dtype, dtype: torch.dtype) -> None:
    """From host memory it comes back bit for bit, also after its slot was cleared or another adapter took it."""
    bank, adapter = AdapterBank(32, "cpu", dtype), make_adapter(seed=1, dtype=in_file)
    host = bank.lay_out(adapter)
    assert bank.holds(host) == (dtype == torch.bfloat16 or in_file == torch.float32)
    assert host.flat.element_size() <= min(in_file.itemsize, dtype.itemsize)
    rows, h = [SegmentRows(0, 0, 4)], torch.randn(4, 32).to(dtype)
    bank.write(0, adapter)
    expected = bank.apply(0, h.clone(), rows)
    for _ in range(2):
        bank.clear(0)
        bank.put(0, host)
        assert torch.equal(bank.apply(0, h.clone(), rows), expected)
        assert torch.equal(bank.weights(0).head_weight, adapter.tensors["head.weight"].float())
        bank.write(0, make_adapter(seed=2))
        assert not torch.equal(bank.apply(0, h.clone(), rows), expected)


def test_cleared_slot_is_an_error_not_the_bare_backbone() -> None:
    """An empty slot raises: it never answers with the backbone alone."""
    bank = AdapterBank(32, "cpu", torch.float32)
    bank.write(0, make_adapter())
    bank.clear(0)
    with pytest.raises(KeyError):
        bank.apply(0, torch.randn(2, 32), [SegmentRows(0, 0, 2)])


def test_bytes_are_those_of_the_weights() -> None:
    """An adapter in the bank takes its parameters in the bank's type, the head in float32, and nothing else."""
    adapter = make_adapter()
    bank = AdapterBank(32, "cpu", torch.float32)
    size = bank.num_bytes(adapter.metadata.num_parameters, adapter.metadata.task.num_outputs)
    assert size == adapter.num_bytes


@pytest.mark.parametrize("in_file", [torch.float32, torch.float16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layers", [(0, 1), (1,)])
def test_keys_are_merged_as_by_the_reference(dtype: torch.dtype, in_file: torch.dtype, layers: tuple[int, ...]) -> None:
    """Every key and the mean gate give the adapter of `GatedAdapter.merge`, laid out alike."""
    gated, bank = make_gated(dtype=in_file, layers=layers, p=5, q=3), AdapterBank(32, "cpu", dtype)
    experts = bank.lay_out_experts(gated)
    assert [experts.find(gated.gates.config.digest(key)) for key in ("u1", "stranger")] == [
        gated.gates.find(gated.gates.config.digest(key)) for key in ("u1", "stranger")
    ]
    close = {"rtol": 1e-6, "atol": 1e-7} if dtype == torch.float32 else {"rtol": 0.01, "atol": 1e-4}
    for row in (None, 0, 1, 2):
        merged, expected = experts.merge(row), bank.lay_out(gated.merge(row))
        assert merged.flat.dtype == expected.flat.dtype == dtype
        assert torch.allclose(merged.flat.float(), expected.flat.float(), **close)
        assert torch.equal(merged.head_weight, expected.head_weight)
        assert torch.equal(merged.head_bias, expected.head_bias)
        assert merged.config == expected.config


def test_merging_a_key_changes_no_other_adapter() -> None:
    """The adapters of other keys and of the mean gate share no memory that a merge writes."""
    bank = AdapterBank(32, "cpu", torch.float32)
    experts = bank.lay_out_experts(make_gated())
    merged = [experts.merge(row) for row in (None, 0, 1)]
    before = [adapter.flat.clone() for adapter in merged]
    again = experts.merge(0)
    experts.merge(2)
    assert all(torch.equal(adapter.flat, flat) for adapter, flat in zip(merged, before, strict=True))
    assert torch.equal(again.flat, before[1])
    assert not torch.equal(before[1], before[2])
