"""Packing: offsets, positions and the grouping by length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.backbone.packing import LENGTH_STEP, Packing


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_groups_hold_each_sequence_once(lengths: list[int]) -> None:
    """Every sequence lies whole in the group of its length, and the inverse restores the order."""
    packing = Packing.of(lengths)
    grouping = packing.grouping
    tokens = torch.tensor([(index, place) for index, length in enumerate(lengths) for place in range(length)])
    grouped = tokens[grouping.to_groups]
    for group in grouping.groups:
        block = grouped[group.start : group.stop].view(group.num_sequences, group.length, 2).tolist()
        masks = [[True] * group.length] * group.num_sequences if group.is_token is None else group.is_token.tolist()
        for sequence, mask in zip(block, masks, strict=True):
            index, mask = sequence[0][0], torch.tensor(mask).flatten().tolist()
            assert sequence[: lengths[index]] == [[index, place] for place in range(lengths[index])]
            assert mask == [place < lengths[index] for place in range(group.length)]
            assert 0 <= group.length - lengths[index] < LENGTH_STEP
    assert sum(group.num_sequences for group in grouping.groups) == len(lengths)
    assert torch.equal(grouped[grouping.from_groups], tokens)
    assert packing.positions.tolist() == tokens[:, 1].tolist()
    assert tokens[packing.first_rows].tolist() == [[index, 0] for index in range(len(lengths))]


def test_rows_of_no_sequence_are_in_no_group() -> None:
    """Rows beyond the tokens have a place to read from and change nothing else."""
    plain, padded = Packing.of([5, 2]), Packing.of([5, 2], num_rows=16)
    assert torch.equal(padded.grouping.to_groups, plain.grouping.to_groups)
    assert torch.equal(padded.lengths, plain.lengths)
    assert padded.grouping.from_groups[:7].tolist() == plain.grouping.from_groups.tolist()
    assert padded.positions[:7].tolist() == plain.positions.tolist()
    assert padded.grouping.from_groups[7:].tolist() == padded.positions[7:].tolist() == [0] * 9


def test_whole_registers_need_no_mask() -> None:
    """A group has a mask only if one of its sequences is padded."""
    packing = Packing.of([LENGTH_STEP, 2 * LENGTH_STEP, 2 * LENGTH_STEP - 1])
    masks = [group.is_token is None for group in packing.grouping.groups]
    assert masks == [True, False]


@pytest.mark.parametrize("lengths", [[], [3, 0], [[1, 2]]])
def test_refuses_what_cannot_be_packed(lengths: list) -> None:
    """No sequence, an empty one, or a nested list is an error."""
    with pytest.raises(ValueError, match="at least one"):
        Packing.of(lengths)
