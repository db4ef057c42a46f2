"""The checks of tensor values in the file."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adapters import checkpoint
from adapters.checkpoint.container import read_container
from adapters.checkpoint.tensor_checks import MAX_MAGNITUDE
from adapters.errors import CheckpointError
from tests.support.editable_file import LAST, EditableFile
from tests.support.factories import make_adapter_bytes

FILES = {
    dtype: EditableFile(make_adapter_bytes(dtype=getattr(torch, dtype)))  # float32, float16
    for dtype in ("float32", "float16")
}


def reason_of(data: bytes) -> str | None:
    try:
        checkpoint.parse(data)
    except CheckpointError as error:
        return error.reason
    return None


@given(st.sampled_from(sorted(FILES)), st.data())
def test_verdict_is_that_of_the_numbers(dtype: str, data: st.DataObject) -> None:
    """For any bits, the verdict equals that of a plain computation on the numbers."""
    width = np.dtype(dtype).itemsize
    bits = data.draw(st.lists(st.binary(min_size=width, max_size=width), min_size=1, max_size=8))
    file = FILES[dtype].with_bytes(LAST, b"".join(bits), -1)
    container = read_container(file)
    entry = container.entries[LAST]
    numbers = [float(value) for value in np.frombuffer(file[entry.start : entry.stop], dtype).tolist()]
    if not np.isfinite(numbers).all():
        expected = "not_finite"
    else:
        expected = "magnitude" if max(map(abs, numbers)) > MAX_MAGNITUDE else None
    assert reason_of(file) == expected


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", sorted(FILES))
def test_largest_weight_stays_finite_in_every_dtype(dtype: str, sign: int) -> None:
    """A weight of exactly 10,000 is accepted and stays finite in each dtype of a server."""
    value = np.array(sign * MAX_MAGNITUDE, dtype)
    data = FILES[dtype].with_bytes(LAST, value.tobytes(), -1)
    weight = checkpoint.parse(data).tensors[LAST].flatten()[-1]
    assert float(weight) == sign * MAX_MAGNITUDE
    for serving in (torch.float32, torch.bfloat16, torch.float16):
        assert float(weight.to(serving)) == pytest.approx(float(weight), rel=2**-8)
