"""Gated files that are refused: reason code -> name -> function that makes the file."""

import struct
from collections.abc import Callable

from adapters.config import GATE_KEYS, GATE_MEAN, GATE_TABLE
from adapters.gates import MAX_KEYS
from tests.support.editable_file import EditableFile, Makers, Tensors

DOWN = "layers.0.down_a.weight"


def refused_gates(gated: EditableFile, plain: EditableFile) -> Makers:
    """Invalid gates; `gated` is a valid file in float32 of three keys and four experts, `plain` one without gates."""
    described = gated.metadata["gates"]
    keys = [gated.bytes_of(GATE_KEYS)[at : at + 16] for at in range(0, 48, 16)]

    def spec(**changes: object) -> Callable[[], bytes]:
        return lambda: gated.config(gates={**described, **changes})

    def exchanged(*replacement: tuple[str, str, list[int], bytes]) -> bytes:
        names = {name for name, *_ in replacement}
        kept: Tensors = [tensor for tensor in gated.tensors() if tensor[0] not in names]
        return gated.repacked([*kept, *replacement])

    def weights(name: str, *values: float) -> Callable[[], bytes]:
        return lambda: gated.with_bytes(name, struct.pack(f"<{len(values)}f", *values))

    def table(count: int) -> tuple[str, str, list[int], bytes]:
        layers = gated.header[GATE_TABLE]["shape"][1]
        return GATE_TABLE, "F32", [count, layers, 4], struct.pack("<4f", 0.25, 0.25, 0.25, 0.25) * layers * count

    def digests(*rows: bytes) -> tuple[str, str, list[int], bytes]:
        return GATE_KEYS, "U8", [len(rows), 16], b"".join(rows)

    def of_type(dtype: str) -> Callable[[], bytes]:
        return lambda: exchanged((GATE_KEYS, dtype, [12 if dtype == "F32" else 24], bytes(48)))

    return {
        "container_dtype": {
            "digests in float32": of_type("F32"),
            "digests in float16": of_type("F16"),
            "gates in bytes": lambda: exchanged((GATE_MEAN, "U8", [2, 4], bytes(8))),
        },
        "format_version": {"gates in version 4": lambda: gated.config(format_version=4)},
        "config": {
            "gates in version 2": lambda: gated.config(format_version=2),
            "version 3 without gates": lambda: plain.config(format_version=3),
        },
        "gates": {
            "one expert": spec(num_experts=1),
            "65 experts": spec(num_experts=65),
            "salt of 31 digits": spec(salt="5" * 31),
            "salt in upper case": spec(salt="5A" * 16),
            "field with a hyphen": spec(field="user-id"),
            "field of 65 characters": spec(field="u" * 65),
            "field with a line break": spec(field="user\n"),
            "field with the name of the mean gate": spec(field="mean"),
            "gates a list": lambda: gated.config(gates=[]),
            "one more field of gates": spec(num_keys=3),
        },
        "tensor_missing": {
            "no mean gate": lambda: gated.repacked(t for t in gated.tensors() if t[0] != GATE_MEAN),
            "no digests": lambda: gated.repacked(t for t in gated.tensors() if t[0] != GATE_KEYS),
        },
        "tensor_extra": {"gates in a plain file": lambda: _with_gates(plain, gated)},
        "tensor_shape": {
            "three experts in the tensors": lambda: _experts(gated, 3),
            "five experts in the config": spec(num_experts=5),
            "a plain down-projection": lambda: exchanged(*(tensor for tensor in plain.tensors() if tensor[0] == DOWN)),
            "a gate fewer than keys": lambda: exchanged(table(2)),
            "digests of 15 bytes": lambda: exchanged((GATE_KEYS, "U8", [3, 15], bytes(45))),
            "flat digests": lambda: exchanged((GATE_KEYS, "U8", [48], bytes(48))),
        },
        "bottleneck": {"p of the experts": lambda: gated.config(p=4)},
        "not_finite": {"NaN in the gates": weights(GATE_TABLE, 0.5, float("nan"))},
        "gate_values": {
            "negative gate": weights(GATE_TABLE, 1.25, -0.25, 0.0, 0.0),
            "gate with the sum 1.01": weights(GATE_TABLE, 0.5, 0.51, 0.0, 0.0),
            "gate of zeros": weights(GATE_MEAN, 0.0, 0.0, 0.0, 0.0),
        },
        "gate_keys": {
            "one key": lambda: exchanged(digests(keys[0]), table(1)),
            "100,001 keys": lambda: exchanged(
                digests(*(number.to_bytes(16, "big") for number in range(MAX_KEYS + 1))), table(MAX_KEYS + 1)
            ),
            "keys out of order": lambda: exchanged(digests(keys[1], keys[0], keys[2])),
            "a key twice": lambda: exchanged(digests(keys[0], keys[1], keys[1])),
            "order by the last byte": lambda: exchanged(digests(bytes(15) + b"\2", bytes(15) + b"\1", keys[2])),
        },
        "container_truncated": {"gates cut off": lambda: gated.with_text(gated.text, gated.body[:-16])},
    }


def _experts(gated: EditableFile, count: int) -> bytes:
    """Keep the first `count` of four experts of one projection."""
    ((_, dtype, shape, block),) = (tensor for tensor in gated.tensors() if tensor[0] == DOWN)
    fewer = (DOWN, dtype, [count, *shape[1:]], block[: len(block) * count // 4])
    return gated.repacked([*(tensor for tensor in gated.tensors() if tensor[0] != DOWN), fewer])


def _with_gates(plain: EditableFile, gated: EditableFile) -> bytes:
    return plain.repacked([*plain.tensors(), *(tensor for tensor in gated.tensors() if tensor[0].startswith("gates."))])
