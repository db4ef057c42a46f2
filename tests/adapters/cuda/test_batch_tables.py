"""The block of memory that tells the GPU of its batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton", reason="Triton is not installed (it comes with the dev extra on Linux)")

from adapters.cuda import forward as cuda_forward
from adapters.cuda.batch_tables import BatchTables, TableSizes, carve, fill, num_table_bytes
from adapters.cuda.fused_kernel import ROWS_PER_TILE
from adapters.cuda.graphs import Bucket, Buckets
from adapters.cuda.head_kernel import POOLING_CODES
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from tests.support.factories import make_adapter
from tests.support.reference import random_encodings

NUM_OUTPUTS = (2, 5, 1)


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    """Three adapters that differ in everything."""
    bank = AdapterBank(32, "cpu", torch.float32)
    bank.write(0, make_adapter())
    bank.write(1, make_adapter(labels=tuple("abcde"), pooling="cls", p=5, q=2, layers=(1,)))
    bank.write(2, make_adapter(type="regression", labels=(), pooling="pooler"))
    return bank


def batch_of(drawn: list[tuple[int, list[int]]]) -> BatchTokens:
    """Segments (slot, lengths) of random tokens."""
    if not drawn:
        return cuda_forward._EMPTY
    return BatchTokens.of([(slot, random_encodings(lengths, 99, seed)) for seed, (slot, lengths) in enumerate(drawn)])


def filled(bank: AdapterBank, batch: BatchTokens, sizes: TableSizes) -> tuple[BatchTables, list[int]]:
    block = torch.full((num_table_bytes(sizes),), 0xAB, dtype=torch.uint8)  # what another batch may have left
    tables = carve(block, sizes)
    weights = [bank.weights(slot) for slot in batch.slots]
    return tables, fill(tables, batch, weights, sizes.max_length)


segments = st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(1, 40), min_size=1, max_size=5)), max_size=6)


@settings(deadline=None)
@given(segments, st.booleans())
def test_tables_say_what_the_batch_is(bank: AdapterBank, drawn: list[tuple[int, list[int]]], padded: bool) -> None:
    """Every token, sequence, tile and logit is in its place, in tables with and without spare room."""
    batch = batch_of(drawn)
    sizes = TableSizes.of(batch, 2)
    if padded:
        bucket = Buckets(2048, 64).choose(sizes.num_tokens, sizes.num_sequences, sizes.max_length)
        assert bucket is not None
        sizes = TableSizes.of_bucket(bucket, 2)
    tables, ends = filled(bank, batch, sizes)
    encodings = [item for seed, (_, lengths) in enumerate(drawn) for item in random_encodings(lengths, 99, seed)]
    slots = [slot for slot, lengths in drawn for _ in lengths]
    bounds = tables.cu_seqlens.tolist()
    logit = 0
    for n, (encoding, slot) in enumerate(zip(encodings, slots, strict=True)):
        rows = slice(bounds[n], bounds[n + 1])
        assert tables.token_ids[rows].tolist() == encoding.token_ids.tolist()
        assert tables.type_ids[rows].tolist() == encoding.type_ids.tolist()
        assert tables.first_rows[n] == bounds[n]
        segment, pooling, num_outputs, first = tables.sequences[n].tolist()
        assert batch.slots[segment] == slot
        assert pooling == POOLING_CODES[bank.task(slot).pooling]
        assert (num_outputs, first) == (NUM_OUTPUTS[slot], logit)
        logit += num_outputs
    assert ends == np.cumsum([NUM_OUTPUTS[slot] * len(lengths) for slot, lengths in drawn]).tolist()
    assert tables.sequences[len(encodings) :, 2].eq(0).all()  # padding has no logits
    lengths = np.diff(bounds)
    assert bounds[-1] == len(tables.token_ids)
    assert lengths.min(initial=0) >= 0
    assert lengths.max(initial=0) <= sizes.max_length
    assert tables.positions.tolist() == [place for length in lengths for place in range(length)]
    check_tiles(tables, drawn)


def check_tiles(tables: BatchTables, drawn: list[tuple[int, list[int]]]) -> None:
    owners = np.full(len(tables.token_ids), -1)
    for segment, first, num_rows in tables.tiles.tolist():
        assert num_rows <= ROWS_PER_TILE
        assert (owners[first : first + num_rows] == -1).all()  # no row is in two tiles
        owners[first : first + num_rows] = segment
    expected = [segment for segment, (_, lengths) in enumerate(drawn) for _ in range(sum(lengths))]
    assert owners.tolist() == expected + [-1] * (len(owners) - len(expected))  # no adapter touches the padding


def test_addresses_are_those_of_the_slot(bank: AdapterBank) -> None:
    """A segment's weights are found by the addresses of its slot's tensors; a layer without an adapter has none."""
    batch = batch_of([(1, [3]), (0, [3])])
    tables, _ = filled(bank, batch, TableSizes.of(batch, 2))
    weights = bank.weights(1)
    site = weights.layers[1]
    assert tables.addresses[0].tolist() == [
        [0, 0, 0],
        [site.down.data_ptr(), site.down_bias.data_ptr(), site.up.data_ptr()],
    ]
    assert tables.bottlenecks.tolist() == [[5, 2], [3, 4]]
    assert tables.heads[0].tolist() == [weights.head_weight.data_ptr(), weights.head_bias.data_ptr()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("p", [1, 3, 8, 12])
def test_matrices_begin_at_multiples_of_16_bytes(p: int, dtype: torch.dtype) -> None:
    """The kernel may load 16 bytes at a time from every matrix, for any bottleneck."""
    bank = AdapterBank(32, "cpu", dtype)
    bank.write(0, make_adapter(p=p))
    weights = bank.weights(0)
    starts = {*weights.addresses[:, 0].tolist(), *weights.addresses[:, 2].tolist(), weights.head_weight.data_ptr()}
    assert {start % 16 for start in starts} == {0}


def test_a_bucket_has_room_for_its_worst_batches(bank: AdapterBank) -> None:
    """One token a sequence and a segment, or one long segment: the tables of the bucket hold it."""
    bucket = Bucket(num_tokens=64, max_length=16, num_sequences=8)
    sizes = TableSizes.of_bucket(bucket, 2)
    for lengths in ([[1]] * 8, [[16, 16, 16, 16]], [[17 - 1] + [1] * 7]):
        tables, _ = filled(bank, batch_of([(0, segment) for segment in lengths]), sizes)
        assert tables.cu_seqlens[-1] == 64
        assert int(tables.tiles[:, 2].sum()) == sum(map(sum, lengths))


def test_views_do_not_overlap_and_are_aligned() -> None:
    """Tables do not overlap, and each begins at an address from which vectors may be loaded."""
    sizes = TableSizes(num_tokens=5, num_sequences=3, num_segments=3, num_tiles=1, num_layers=2, max_length=4)
    block = torch.zeros(num_table_bytes(sizes), dtype=torch.uint8)
    views = vars(carve(block, sizes)).values()
    for view in views:
        view.view(-1).view(torch.uint8).add_(1)
        assert (view.data_ptr() - block.data_ptr()) % 16 == 0
    assert int(block.max()) == 1
