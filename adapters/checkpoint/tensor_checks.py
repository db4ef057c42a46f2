"""Checks of the tensors in an adapter file against its config, without copying them."""

from collections.abc import Mapping

import numpy as np

from adapters.checkpoint.container import ITEM_BYTES, Container, TensorEntry
from adapters.checkpoint.gate_checks import check_gates, check_num_keys
from adapters.config import GATE_KEYS, AdapterConfig
from adapters.errors import CheckpointError

MAX_MAGNITUDE = 1e4  # far above any trained weight; the largest float16 is 65,504
_DTYPES = {"F32": ("<f4", "<i4", "<u4"), "F16": ("<f2", "<i2", "<u2")}  # the float, and the integers of the same size


def check_tensors(data: bytes, container: Container, config: AdapterConfig) -> None:
    """Check names, shapes, dtype, values and gates, in this order. Raises CheckpointError.

    Accepted values are at most MAX_MAGNITUDE in size, so they stay finite in every dtype that a server computes in.
    """
    entries = container.entries
    _check_names(entries, config)
    _check_bottleneck(entries, config)
    shapes = config.gated_tensor_shapes(check_num_keys(entries)) if config.gates else config.tensor_shapes()
    for name, shape in shapes.items():
        if entries[name].shape != shape:
            raise CheckpointError("tensor_shape", f"tensor {name} has shape {entries[name].shape}, not {shape}")
    floats = {name: entry for name, entry in entries.items() if name != GATE_KEYS}
    if len({entry.dtype for entry in floats.values()}) > 1:
        raise CheckpointError("tensor_dtype", "some tensors are float32, others float16: store all in one dtype")
    for name, entry in floats.items():
        largest = _largest_magnitude(data, entry)
        if not np.isfinite(largest):
            raise CheckpointError("not_finite", f"tensor {name} holds NaN or Inf")
        if largest > MAX_MAGNITUDE:
            raise CheckpointError("magnitude", f"tensor {name} holds {largest:.3g}; the limit is {MAX_MAGNITUDE:g}")
    if config.gates:
        check_gates(data, entries)


def _check_names(entries: Mapping[str, TensorEntry], config: AdapterConfig) -> None:
    names = config.gated_tensor_shapes(0).keys() if config.gates else config.tensor_shapes().keys()
    if missing := sorted(names - entries.keys()):
        raise CheckpointError("tensor_missing", f"tensor {missing[0]} is missing ({len(missing)} in all)")
    if extra := sorted(entries.keys() - names):
        raise CheckpointError("tensor_extra", f"tensor {extra[0]} is not part of this adapter ({len(extra)} in all)")


def _check_bottleneck(entries: Mapping[str, TensorEntry], config: AdapterConfig) -> None:
    """Check that the projections have the widths p, q and p * q; other wrong shapes are left to the shape check."""
    expected, hidden = (config.p, config.q, config.bottleneck), (config.backbone.hidden_size,)
    rank = 3 if config.gates else 2  # of the down-projections
    for layer in config.layers:
        down_a, down_b, up = (entries[f"layers.{layer}.{name}.weight"].shape for name in ("down_a", "down_b", "up"))
        if len(down_a) != rank or len(down_b) != rank:
            continue
        found = (down_a[-2], down_b[-2], up[-1])
        if down_a[-1:] == down_b[-1:] == up[:-1] == hidden and found != expected:
            raise CheckpointError(
                "bottleneck", f"layer {layer}: p, q, p*q are {found} in the tensors, {expected} in the config"
            )


def _largest_magnitude(data: bytes, entry: TensorEntry) -> float:
    """Return max |x| of a tensor, or Inf or NaN if the tensor holds one.

    Without the sign bit, IEEE numbers have the same order as their bits read as an integer; Inf and NaN come last. The
    largest signed integer is the largest positive number, the largest unsigned integer the largest negative one.
    """
    floats, signed, unsigned = _DTYPES[entry.dtype]
    count = (entry.stop - entry.start) // ITEM_BYTES[entry.dtype]
    bits = np.frombuffer(data, signed, count, entry.start)
    largest = max(int(bits.max()), int(bits.view(unsigned).max()) & int(np.iinfo(signed).max))
    return float(np.array(largest, signed).view(floats))
