"""The oracle of the mutation tests: reads a file with the safetensors library and with plain loops."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.config import GATE_KEYS, GATE_MEAN, GATE_TABLE
from adapters.gates import GatedAdapter

ITEM = {"F32": (4, "<f4", torch.float32), "F16": (2, "<f2", torch.float16), "U8": (1, "u1", torch.uint8)}
Json = dict[str, Any]


def check_accepted(data: bytes, adapter: Adapter | GatedAdapter, scratch: Path) -> None:
    """Check `adapter`, read from `data`, against the library and a reading by hand, and write and read it again.

    Raises AssertionError.
    """
    header, body = _header_by_hand(data)
    metadata = header.pop("__metadata__")
    scratch.write_bytes(data)
    with safetensors.safe_open(scratch, framework="np") as library:
        assert library.metadata() == metadata
        tensors = _all_tensors(adapter)
        assert sorted(library.keys()) == sorted(header) == sorted(tensors)
        for name, entry in header.items():
            block = _bytes_by_hand(entry, body)
            assert (len(data) - len(body) + entry["data_offsets"][0]) % ITEM[entry["dtype"]][0] == 0
            _check_tensor(entry, block, tensors[name], library.get_tensor(name))
    assert sorted(entry["data_offsets"] for entry in header.values())[-1][1] == len(body)
    assert sum(len(_bytes_by_hand(entry, body)) for entry in header.values()) == len(body)
    assert list(metadata) == ["adakron"]
    described = json.loads(metadata["adakron"], object_pairs_hook=_pairs)
    assert (
        json.dumps(
            described,
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
            ensure_ascii=described["format_version"] == 1,
        )
        == metadata["adakron"]
    )
    assert adapter.metadata.model_dump(mode="json") == described
    assert {name: entry["shape"] for name, entry in header.items()} == _shapes_by_hand(described, header)
    _check_gates_by_hand(adapter)
    assert adapter.digest == hashlib.sha256(data).hexdigest()
    _check_round_trip(data, adapter, metadata)


def _header_by_hand(data: bytes) -> tuple[Json, bytes]:
    length = int.from_bytes(data[:8], "little")
    assert length <= 2**18
    assert data[8:9] == b"{"
    header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_pairs)
    return header, data[8 + length :]


def _pairs(pairs: list[tuple[str, Any]]) -> Json:
    for number, (key, value) in enumerate(pairs):
        assert key not in [earlier for earlier, _ in pairs[:number]]
        assert type(value) is not int or abs(value) <= 2**53
        assert type(value) is not float or math.isfinite(value)
    return dict(pairs)


def _bytes_by_hand(entry: Json, body: bytes) -> bytes:
    assert sorted(entry) == ["data_offsets", "dtype", "shape"]
    start, stop = entry["data_offsets"]
    assert 0 <= start < stop <= len(body)
    assert all(type(number) is int for number in (*entry["data_offsets"], *entry["shape"]))
    return body[start:stop]


def _check_tensor(entry: Json, block: bytes, ours: torch.Tensor, theirs: np.ndarray) -> None:
    size, numpy_dtype, torch_dtype = ITEM[entry["dtype"]]
    count = 1
    for axis in entry["shape"]:
        assert axis > 0
        count *= axis
    assert len(block) == count * size
    assert (ours.dtype, list(ours.shape)) == (torch_dtype, entry["shape"])
    assert (theirs.dtype, list(theirs.shape)) == (np.dtype(numpy_dtype), entry["shape"])
    assert ours.numpy().tobytes() == theirs.tobytes() == block
    assert all(abs(number) <= 1e4 for number in np.frombuffer(block, numpy_dtype).tolist())


def _shapes_by_hand(described: Json, header: Json) -> dict[str, list[int]]:
    hidden, p, q, task = described["backbone"]["hidden_size"], described["p"], described["q"], described["task"]
    outputs = 1 if task["type"] == "regression" else len(task["labels"])
    shapes = {"head.weight": [outputs, hidden], "head.bias": [outputs]}
    for layer in described["layers"]:
        shapes |= {f"layers.{layer}.down_a.weight": [p, hidden], f"layers.{layer}.down_a.bias": [p]}
        shapes |= {f"layers.{layer}.down_b.weight": [q, hidden], f"layers.{layer}.down_b.bias": [q]}
        shapes |= {f"layers.{layer}.up.weight": [hidden, p * q], f"layers.{layer}.up.bias": [hidden]}
    if described["format_version"] == 3:
        experts, keys = described["gates"]["num_experts"], header[GATE_KEYS]["shape"][0]
        shapes = {name: [experts, *shape] if ".down_" in name else shape for name, shape in shapes.items()}
        mean = [len(described["layers"]), experts]
        shapes |= {GATE_KEYS: [keys, 16], GATE_TABLE: [keys, *mean], GATE_MEAN: mean}
    return shapes


def _all_tensors(adapter: Adapter | GatedAdapter) -> dict[str, torch.Tensor]:
    tensors = dict(adapter.tensors)
    if isinstance(adapter, GatedAdapter):
        gates = adapter.gates
        tensors |= {GATE_KEYS: torch.from_numpy(gates.digests), GATE_TABLE: gates.table, GATE_MEAN: gates.mean}
    return tensors


def _check_gates_by_hand(adapter: Adapter | GatedAdapter) -> None:
    assert isinstance(adapter, GatedAdapter) == (adapter.metadata.gates is not None)
    if isinstance(adapter, GatedAdapter):
        keys = [row.tobytes() for row in adapter.gates.digests]
        assert keys == sorted(set(keys))
        assert [adapter.gates.find(key) for key in keys] == list(range(len(keys)))
        for gate in [*adapter.gates.table.flatten(0, 1).tolist(), *adapter.gates.mean.tolist()]:
            assert min(gate) >= 0
            assert abs(sum(gate) - 1) < 1.1e-3


def _check_round_trip(data: bytes, adapter: Adapter | GatedAdapter, metadata: dict[str, str]) -> None:
    """Check that serializing gives the file that the library writes, and the same file when repeated."""
    dtype = next(iter(adapter.tensors.values())).dtype
    tensors = _all_tensors(adapter)
    again = checkpoint.serialize(adapter.metadata, tensors, dtype)
    assert again == safetensors.torch.save(safetensors.torch.load(data), metadata)
    reread = checkpoint.parse(again)
    assert reread.metadata == adapter.metadata
    assert all(torch.equal(_all_tensors(reread)[name], tensor) for name, tensor in tensors.items())
    assert checkpoint.serialize(reread.metadata, _all_tensors(reread), dtype) == again
