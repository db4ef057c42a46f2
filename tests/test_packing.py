"""Packing: offsets, positions and the grouping by length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.packing import Packing


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=20))
def test_groups_hold_each_sequence_once(lengths: list[int]) -> None:
    """In grouped order every sequence lies whole in the group of its length, and the way back restores the order."""
    packing = Packing.of(lengths)
    tokens = torch.tensor([(index, place) for index, length in enumerate(lengths) for place in range(length)])
    grouped = tokens if packing.to_groups is None else tokens[packing.to_groups]
    for group in packing.groups:
        block = grouped[group.start : group.stop].view(group.num_sequences, group.length, 2)
        for sequence in block.tolist():
            assert lengths[sequence[0][0]] == group.length
            assert sequence == [[sequence[0][0], place] for place in range(group.length)]
    assert sum(group.num_sequences for group in packing.groups) == len(lengths)
    back = grouped if packing.from_groups is None else grouped[packing.from_groups]
    assert torch.equal(back, tokens)
    assert packing.positions.tolist() == tokens[:, 1].tolist()
    assert tokens[packing.first_rows].tolist() == [[index, 0] for index in range(len(lengths))]


def test_ascending_lengths_need_no_reordering() -> None:
    """Sequences that come shortest first are grouped as they lie."""
    assert Packing.of([2, 2, 5]).to_groups is None
    assert Packing.of([5, 2]).to_groups is not None


@pytest.mark.parametrize("lengths", [[], [3, 0], [[1, 2]]])
def test_refuses_what_cannot_be_packed(lengths: list) -> None:
    """No sequence, an empty one, or a nested list is an error."""
    with pytest.raises(ValueError, match="at least one"):
        Packing.of(lengths)
