"""ADAKRON_DTYPE=auto by what the kernels can use."""

import pytest

from service.engine import dtype
from service.engine.dtype import choose_dtype


@pytest.mark.parametrize(("has_tiles", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_where_the_kernels_use_amx(
    has_tiles: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With AMX in the kernels `auto` is bfloat16, without it float32; a type that is asked for is taken."""
    monkeypatch.setattr(dtype, "can_tile", lambda device, of: has_tiles)
    name, reason = choose_dtype("auto", "cpu")
    assert name == expected
    assert "AMX" in reason
    assert choose_dtype("float16", "cpu") == ("float16", "ADAKRON_DTYPE=float16")
    assert choose_dtype("auto", "cuda")[0] == "bfloat16"
