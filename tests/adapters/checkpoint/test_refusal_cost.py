"""The cost of refusing a file: under 50 ms, and under 32 MiB besides the file, for any file."""

import gc
import json
import struct
import time
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

import pytest

from adapters import checkpoint
from adapters.adapter import AdapterMetadata
from adapters.checkpoint.adapter_file import MAX_FILE_BYTES
from adapters.checkpoint.container import ITEM_BYTES, MAX_HEADER_BYTES
from adapters.config import GATE_KEYS, GATE_TABLE, TaskSpec
from adapters.errors import CheckpointError
from tests.support.editable_file import EditableFile
from tests.support.factories import make_adapter_bytes, make_gated_bytes, tiny_identity
from tests.support.refused_files import refused_files

pytestmark = pytest.mark.alone

MAX_SECONDS = 0.05
MAX_BYTES = 32 * 2**20
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
IDENTITY = tiny_identity().model_copy(update={"hidden_size": 2048, "num_layers": 24})
GOOD = EditableFile(make_adapter_bytes(identity=IDENTITY))
ROOM = MAX_HEADER_BYTES - 8  # in a header
INNER = 180_000  # in the header's metadata, where each quote takes two bytes


def large(dtype: str, filling: bytes, end: bytes) -> bytes:
    """Make a file of nearly 64 MiB that consists of copies of `filling` and ends with `end`."""
    task = TaskSpec(type="regression", labels=(), pair=False, pooling="cls", max_length=128)
    layers = tuple(range(28 // ITEM_BYTES[dtype]))
    metadata = AdapterMetadata(backbone=IDENTITY, p=32, q=32, layers=layers, task=task)
    header: dict[str, object] = {"__metadata__": {"adakron": checkpoint.canonical_json(metadata)}}
    at = 0
    for name, shape in metadata.tensor_shapes().items():
        stop = at + prod(shape) * ITEM_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, stop]}
        at = stop
    data = GOOD.with_text(json.dumps(header), filling * (at // len(filling) - 1) + end)
    assert 0.9 * MAX_FILE_BYTES < len(data) <= MAX_FILE_BYTES
    return data


def large_gates(end: bytes) -> bytes:
    """Make a gated file of nearly 64 MiB whose gates are even, except for the weights `end` of the last key."""
    gated, count = EditableFile(make_gated_bytes(identity=IDENTITY, num_experts=4, layers=range(24))), 100_000
    gates = struct.pack("<4f", 0.25, 0.25, 0.25, 0.25) * 24
    tensors = [tensor for tensor in gated.tensors() if tensor[0] not in (GATE_KEYS, GATE_TABLE)]
    digests = b"".join(number.to_bytes(16, "big") for number in range(count))
    table = gates * (count - 1) + gates[: -len(end)] + end
    return gated.repacked(
        [*tensors, (GATE_KEYS, "U8", [count, 16], digests), (GATE_TABLE, "F32", [count, 24, 4], table)]
    )


def header_of(part: str, count: int, start: str = "{", end: str = "}") -> bytes:
    """Make a header that repeats `part`."""
    return GOOD.with_text(start + part * count + end)


COSTLY: dict[str, Callable[[], bytes]] = {
    "NaN at the end of 64 MiB": lambda: large("F32", b"\1\1\1\1", struct.pack("<f", float("nan"))),
    "Inf at the end of 64 MiB of float16": lambda: large("F16", b"\1\1", struct.pack("<e", float("inf"))),
    "10^5 at the end of 64 MiB": lambda: large("F32", b"\1\1\1\x81", struct.pack("<f", 1e5)),
    "a byte after 64 MiB": lambda: large("F32", b"\1\1\1\1", bytes(4)) + b"\0",
    "negative gate at the end of 100,000 keys": lambda: large_gates(struct.pack("<2f", 0.75, -0.25)),
    "gate without the sum 1 at the end of 100,000 keys": lambda: large_gates(struct.pack("<f", 0.5)),
    "open brackets": lambda: header_of("[", ROOM - 2),
    "quotes": lambda: header_of('"', ROOM - 2),
    "escaped quotes": lambda: header_of('\\"', ROOM // 2 - 3, '{"'),
    "digits": lambda: header_of("9", ROOM - 7, '{"a":'),
    "integers": lambda: header_of("1,", ROOM // 2 - 8, '{"a":[', "1]}"),
    "keys": lambda: GOOD.with_text("{" + ",".join(f'"{i}":0' for i in range(25_000)) + "}"),
    "key twice at the end": lambda: GOOD.with_text("{" + ",".join(f'"{i % 24_999}":0' for i in range(25_000)) + "}"),
    "brackets in the metadata": lambda: GOOD.described_as("[" * INNER),
    "digits in the metadata": lambda: GOOD.described_as('{"format_version":' + "9" * INNER + "}"),
    "decimals in the metadata": lambda: GOOD.described_as('{"format_version":0.' + "9" * INNER + "}"),
    "unknown fields": lambda: GOOD.config(**{f"x{i}": 0 for i in range(14_000)}),
    "labels of numbers": lambda: GOOD.task(labels=[0] * (INNER // 2)),
    "labels of nothing": lambda: GOOD.task(labels=[""] * (INNER // 5)),
    "layers of fractions": lambda: GOOD.config(layers=[0.5] * (INNER // 4)),
    "examples of numbers": lambda: GOOD.config(examples=[0] * (INNER // 2)),
    "logits of strings": lambda: GOOD.examples(("a", [""] * (INNER // 5))),
    "scores of strings": lambda: GOOD.config(metrics={f"x{i}": "" for i in range(10_000)}),
    "large object in training": lambda: GOOD.config(training={"a": [[]] * (INNER // 3)}, p=0),
}
FILES = COSTLY | {file.name: file.make for file in refused_files(IDENTITY).values() if not file.needs_forward}


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """Exclude the libraries' objects from garbage collection, as the server's processes do."""
    gc.freeze()
    yield
    gc.unfreeze()


def refuse(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        checkpoint.parse(data, IDENTITY)


@pytest.mark.parametrize("name", FILES)
def test_refusals_are_quick(name: str) -> None:
    """Refusing a file takes under 50 ms of CPU time (best of seven runs, to exclude other processes)."""
    data = FILES[name]()
    best = float("inf")
    for _ in range(7):
        started = time.thread_time()
        refuse(data)
        best = min(best, time.thread_time() - started)
    assert best < MAX_SECONDS


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="only Linux can reset the peak of the resident set")
@pytest.mark.parametrize("name", FILES)
def test_refusals_are_small(name: str) -> None:
    """Refusing a file takes under 32 MiB besides the file (peak of the resident set)."""
    data = FILES[name]()
    CLEAR_REFS.write_text("5")  # resets the peak
    before = peak_bytes()
    refuse(data)
    assert peak_bytes() - before < MAX_BYTES


def peak_bytes() -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
