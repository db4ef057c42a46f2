"""The type that the setting `dtype` selects on this machine."""

import torch

from adapters.backbone.tiled import can_tile


def choose_dtype(wanted: str, device: str) -> tuple[str, str]:
    """Return the name of the type that `wanted` selects on `device`, and the reason.

    `auto` is bfloat16 on CUDA, and on a CPU where the compiled kernels can use AMX: the five shipped tasks lose less
    than 0.2 points by it, and an answer does not depend on its batch (docs/decisions/0017-types.md). Elsewhere it is
    float32.
    """
    if wanted != "auto":
        return wanted, f"ADAKRON_DTYPE={wanted}"
    if device != "cpu":
        return "bfloat16", "on a GPU"
    if can_tile(torch.device("cpu"), torch.bfloat16):
        return "bfloat16", "the CPU has AMX"
    return "float32", "the CPU has no AMX, or the kernels are not compiled"
