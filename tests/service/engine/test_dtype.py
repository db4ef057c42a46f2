"""ADAKRON_DTYPE=auto by the processor."""

from pathlib import Path

import pytest

from service.engine import dtype
from service.engine.dtype import choose_dtype


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx512f amx_bf16 amx_tile", "bfloat16"), ("avx512f avx512_bf16", "float32"), ("", "float32")],
)
def test_auto_is_bfloat16_with_amx(flags: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU with AMX `auto` is bfloat16, on others float32; a type that is asked for is taken."""
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(dtype, "CPU_INFO", file)
    name, reason = choose_dtype("auto", "cpu")
    assert name == expected
    assert "AMX" in reason
    assert choose_dtype("float16", "cpu") == ("float16", "ADAKRON_DTYPE=float16")


def test_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not describe its processor computes in float32; CUDA needs no description."""
    monkeypatch.setattr(dtype, "CPU_INFO", tmp_path / "nothing")
    assert choose_dtype("auto", "cpu")[0] == "float32"
    assert choose_dtype("auto", "cuda")[0] == "bfloat16"
