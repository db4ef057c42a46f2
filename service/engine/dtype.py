"""The type that the setting `dtype` selects on this machine."""

from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def choose_dtype(wanted: str, device: str) -> tuple[str, str]:
    """Return the name of the type that `wanted` selects on `device`, and the reason.

    `auto` is bfloat16 on CUDA and on a CPU with AMX, because the five shipped tasks lose less than 0.2 points by it
    (docs/decisions/0017-types.md). Elsewhere it is float32.
    """
    if wanted != "auto":
        return wanted, f"ADAKRON_DTYPE={wanted}"
    if device != "cpu":
        return "bfloat16", "on a GPU"
    if "amx_bf16" in cpu_flags():
        return "bfloat16", "the CPU has AMX"
    return "float32", "the CPU has no AMX"


def cpu_flags() -> frozenset[str]:
    """Return what Linux says that the processor supports, in lower case; nothing on other systems."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split()[2:])
