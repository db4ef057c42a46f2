"""The adapter file: round trip, and every refusal with its own reason."""

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import checkpoint
from adapters.config import BackboneIdentity
from adapters.errors import CheckpointError
from tests.factories import make_adapter_bytes, tiny_identity

GOOD = make_adapter_bytes()
Json = dict[str, Any]


def split(data: bytes) -> tuple[Json, bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: Json | str | bytes, body: bytes) -> bytes:
    if isinstance(header, dict):
        header = json.dumps(header, separators=(",", ":"))
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw)) + raw + body


def edited(change: Callable[[Json], object]) -> bytes:
    """The good file with its header changed."""
    header, body = split(GOOD)
    change(header)
    return join(header, body)


def described(change: Callable[[Json], object], canonical: bool = True) -> bytes:
    """The good file with its adakron metadata changed."""

    def change_text(header: Json) -> None:
        metadata = json.loads(header["__metadata__"]["adakron"])
        change(metadata)
        separators = (",", ":") if canonical else (", ", ": ")
        header["__metadata__"]["adakron"] = json.dumps(metadata, sort_keys=True, separators=separators)

    return edited(change_text)


def with_values(name: str, value: float) -> bytes:
    """The good file with one weight replaced."""
    header, body = split(GOOD)
    start = header[name]["data_offsets"][0]
    return join(header, body[:start] + struct.pack("<f", value) + body[start + 4 :])


def without_last_tensor() -> bytes:
    """The good file without the tensor that comes last."""
    header, body = split(GOOD)
    name = max((key for key in header if key != "__metadata__"), key=lambda key: header[key]["data_offsets"][1])
    start = header.pop(name)["data_offsets"][0]
    return join(header, body[:start])


def rename(header: Json, old: str, new: str) -> None:
    header[new] = header.pop(old)


HEADER, BODY = split(GOOD)
RAW_HEADER = GOOD[8 : len(GOOD) - len(BODY)].decode()
HEAD = "head.bias"

REFUSED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty file": ("container_truncated", lambda: b""),
    "seven bytes": ("container_truncated", lambda: GOOD[:7]),
    "header length 0": ("container_header_length", lambda: bytes(8) + GOOD[8:]),
    "header length 2^63": ("container_header_length", lambda: struct.pack("<Q", 2**63) + GOOD[8:]),
    "header over its cap": ("container_header_length", lambda: join(RAW_HEADER + " " * 65536, BODY)),
    "header longer than the file": ("container_truncated", lambda: struct.pack("<Q", 60000) + b"{" * 100),
    "zip": ("container_header_length", lambda: b"PK\x03\x04" + bytes(100)),
    "pickle": ("container_header_length", lambda: b"\x80\x04\x95" + b"a" * 100),
    "not an object": ("container_json", lambda: join("[]", BODY)),
    "leading space": ("container_json", lambda: join(" " + RAW_HEADER, BODY)),
    "byte order mark": ("container_json", lambda: join("\ufeff" + RAW_HEADER, BODY)),
    "not UTF-8": ("container_json", lambda: join(b'{"\xff":1}', BODY)),
    "broken JSON": ("container_json", lambda: join(RAW_HEADER.rstrip()[:-1], BODY)),
    "deep nesting": ("container_json", lambda: join('{"a":' + "[" * 30000 + "]" * 30000 + "}", BODY)),
    "NaN in the header": ("container_json", lambda: join('{"a":NaN}', BODY)),
    "float in the header": ("container_json", lambda: join('{"a":1.0}', BODY)),
    "a key twice": ("container_duplicate_key", lambda: join('{"a":1,"a":1}', BODY)),
    "a key twice, escaped": ("container_duplicate_key", lambda: join('{"a":1,"\\u0061":1}', BODY)),
    "no metadata": ("container_metadata", lambda: edited(lambda h: h.pop("__metadata__"))),
    "metadata not strings": ("container_metadata", lambda: edited(lambda h: h["__metadata__"].update(adakron=3))),
    "no tensors": ("container_tensor_count", lambda: join({"__metadata__": HEADER["__metadata__"]}, b"")),
    "odd name": ("container_tensor_name", lambda: edited(lambda h: rename(h, HEAD, "../x"))),
    "empty name": ("container_tensor_name", lambda: edited(lambda h: rename(h, HEAD, ""))),
    "unknown field": ("container_tensor_fields", lambda: edited(lambda h: h[HEAD].update(more=1))),
    "missing field": ("container_tensor_fields", lambda: edited(lambda h: h[HEAD].pop("dtype"))),
    "unlisted dtype": ("container_dtype", lambda: edited(lambda h: h[HEAD].update(dtype="F64"))),
    "negative shape": ("container_shape", lambda: edited(lambda h: h[HEAD].update(shape=[-2]))),
    "zero-size tensor": ("container_shape", lambda: edited(lambda h: h[HEAD].update(shape=[0, 2**40]))),
    "boolean shape": ("container_shape", lambda: edited(lambda h: h[HEAD].update(shape=[True]))),
    "rank 5": ("container_shape", lambda: edited(lambda h: h[HEAD].update(shape=[1, 1, 1, 1, 2]))),
    "offsets descend": ("container_offsets", lambda: edited(lambda h: h[HEAD]["data_offsets"].reverse())),
    "span is not the shape": ("container_offsets", lambda: edited(lambda h: h[HEAD].update(shape=[3]))),
    "product overflows": ("container_offsets", lambda: edited(lambda h: h[HEAD].update(shape=[2**52, 2**52]))),
    "trailing bytes": ("container_layout", lambda: GOOD + b"\0"),
    "overlap": ("container_layout", lambda: edited(lambda h: h["head.weight"].update(data_offsets=[0, 256]))),
    "cut": ("container_truncated", lambda: GOOD[:-1]),
    "other metadata key": ("metadata", lambda: edited(lambda h: h["__metadata__"].update(format="pt"))),
    "metadata is no JSON": ("metadata", lambda: edited(lambda h: h["__metadata__"].update(adakron="{"))),
    "metadata not canonical": ("metadata", lambda: described(lambda m: None, canonical=False)),
    "format version": ("format_version", lambda: described(lambda m: m.update(format_version=2))),
    "unknown task type": ("config", lambda: described(lambda m: m["task"].update(type="ranking"))),
    "unknown config field": ("config", lambda: described(lambda m: m.update(extra=1))),
    "label twice": ("config", lambda: described(lambda m: m["task"].update(labels=["a", "a"]))),
    "layer out of range": ("config", lambda: described(lambda m: m.update(layers=[0, 9]))),
    "example of another kind": (
        "config",
        lambda: described(lambda m: m.update(examples=[{"inputs": ["a", "b"], "logits": [0.0, 0.0]}])),
    ),
    "example of another width": (
        "config",
        lambda: described(lambda m: m.update(examples=[{"inputs": "a", "logits": [0.0]}])),
    ),
    "p times q is not r": ("tensor_shape", lambda: described(lambda m: m.update(q=5))),
    "missing tensor": ("tensor_missing", without_last_tensor),
    "extra tensor": ("tensor_extra", lambda: described(lambda m: m.update(layers=[0]))),
    "NaN": ("not_finite", lambda: with_values("head.weight", float("nan"))),
    "infinity": ("not_finite", lambda: with_values("layers.0.up.weight", float("-inf"))),
    "huge weight": ("magnitude", lambda: with_values("layers.1.down_a.bias", 1e9)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_reason(case: str) -> None:
    """Each kind of bad file is refused with its own reason code and a message."""
    reason, make = REFUSED[case]
    with pytest.raises(CheckpointError) as caught:
        checkpoint.loads(make())
    assert caught.value.reason == reason
    assert str(caught.value)


def test_mixed_dtypes_are_refused() -> None:
    """All tensors of a file have one type."""
    header, body = split(GOOD)
    last = max((key for key in header if key != "__metadata__"), key=lambda key: header[key]["data_offsets"][1])
    start, stop = header[last]["data_offsets"]
    header[last] |= {"dtype": "F16", "data_offsets": [start, start + (stop - start) // 2]}
    with pytest.raises(CheckpointError) as caught:
        checkpoint.loads(join(header, body[: start + (stop - start) // 2]))
    assert caught.value.reason == "tensor_dtype"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights_sha256": "1" * 64}, "other_backbone"),
        ({"tokenizer_sha256": "1" * 64}, "other_tokenizer"),
        ({"num_layers": 3}, "other_backbone"),
    ],
)
def test_other_backbone_is_refused(changes: Json, reason: str) -> None:
    """An adapter made on other weights or another tokenizer is refused; the name does not matter."""
    here = tiny_identity().model_dump()
    checkpoint.loads(GOOD, BackboneIdentity(**(here | {"name": "renamed"})))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.loads(GOOD, BackboneIdentity(**(here | changes)))
    assert caught.value.reason == reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_round_trip(dtype: torch.dtype) -> None:
    """What is read is what was written, and writing it again gives the same bytes."""
    data = make_adapter_bytes(dtype=dtype, labels=("übel", "gut"), seed=3)
    adapter = checkpoint.loads(data)
    assert adapter.metadata.task.labels == ("übel", "gut")
    assert all(tensor.dtype == dtype for tensor in adapter.tensors.values())
    assert checkpoint.dumps(adapter.metadata, adapter.tensors, dtype) == data
    assert adapter.num_bytes == len(data) - 8 - int.from_bytes(data[:8], "little")


def test_digest_names_the_bytes() -> None:
    """Other weights, another digest."""
    first, second = (checkpoint.loads(make_adapter_bytes(seed=seed)).digest for seed in (0, 1))
    assert first != second
    assert len(first) == 64


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_mutations_never_escape(data: st.DataObject) -> None:
    """Whatever bytes are changed, cut or added, the answer is an adapter or a CheckpointError, nothing else."""
    mutated = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, min(len(mutated) - 1, 3000)))
        mutated[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        mutated = mutated[: data.draw(st.integers(0, len(mutated)))]
    try:
        adapter = checkpoint.loads(bytes(mutated))
    except CheckpointError:
        return
    assert set(adapter.tensors) == set(adapter.metadata.tensor_shapes())
