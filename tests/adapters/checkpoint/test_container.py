"""The reader of safetensors headers: accepted spellings and exact limits."""

import json

import pytest

from adapters.checkpoint.container import (
    MAX_HEADER_BYTES,
    MAX_METADATA_CHARS,
    MAX_NAME_CHARS,
    MAX_TENSORS,
    Container,
    TensorEntry,
    read_container,
)
from adapters.errors import CheckpointError
from tests.support.editable_file import HEAD, EditableFile, pack
from tests.support.factories import make_adapter_bytes

GOOD = EditableFile(make_adapter_bytes())


def header(**tensors: object) -> bytes:
    return json.dumps({"__metadata__": {}, **tensors}).encode()


def aligned(raw: bytes, body: bytes) -> bytes:
    return pack(raw.ljust(len(raw) + -len(raw) % 4), body)


def test_reads_names_places_and_metadata() -> None:
    """The container has the header's metadata and entries, with offsets from the start of the file."""
    container = read_container(GOOD.data)
    body = len(GOOD.data) - len(GOOD.body)
    assert container.body == body
    assert container.metadata == GOOD.header["__metadata__"]
    assert list(container.entries) == GOOD.names
    assert container.entries[HEAD] == TensorEntry("F32", (2,), body, body + 8)
    assert GOOD.data[container.entries["head.weight"].start :].startswith(GOOD.bytes_of("head.weight"))


@pytest.mark.parametrize(
    "data",
    [
        GOOD.with_text(json.dumps(GOOD.header, indent=1)),
        GOOD.with_text(json.dumps(dict(reversed(GOOD.header.items())))),
        GOOD.with_text(GOOD.text.replace("head", "\\u0068ead")),
        pack(GOOD.text.encode().ljust(len(GOOD.text) + (4 - len(GOOD.text)) % 8), GOOD.body),
    ],
    ids=["white space between tokens", "other order", "escaped", "other padding"],
)
def test_one_meaning_may_have_several_spellings(data: bytes) -> None:
    """White space in the header, key order, escapes and padding do not change the result."""

    def view(container: Container) -> object:
        body = container.body
        return container.metadata, {
            name: (entry.dtype, entry.shape, entry.start - body) for name, entry in container.entries.items()
        }

    assert view(read_container(data)) == view(read_container(GOOD.data))


def test_largest_header_passes() -> None:
    """A header of exactly 256 KiB is accepted."""
    names = [f"a{index:03}{'x' * (MAX_NAME_CHARS - 4)}" for index in range(230)]
    entries = {
        name: {"dtype": "F16", "shape": [1], "data_offsets": [2 * index, 2 * index + 2]}
        for index, name in enumerate(names)
    }
    short = len(header(**entries))
    metadata = {"__metadata__": {"a": "x" * (MAX_HEADER_BYTES - short - len('"a": ""'))}}
    raw = json.dumps(metadata | entries).encode()
    assert len(raw) == MAX_HEADER_BYTES
    assert len(read_container(pack(raw, bytes(2 * len(names)))).entries) == len(names)


def test_largest_metadata_passes() -> None:
    """Metadata of exactly 253,952 characters are accepted, one more is not."""

    def file(size: int) -> bytes:
        tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
        return aligned(json.dumps({"__metadata__": {"a": "x" * (size - 1)}, "w": tensor}).encode(), bytes(4))

    assert len(read_container(file(MAX_METADATA_CHARS)).metadata["a"]) == MAX_METADATA_CHARS - 1
    with pytest.raises(CheckpointError) as caught:
        read_container(file(MAX_METADATA_CHARS + 1))
    assert caught.value.reason == "container_metadata_too_large"


def test_most_tensors_pass() -> None:
    """1,024 tensors are accepted."""
    raw = header(
        **{
            f"{index:x}": {"dtype": "F16", "shape": [1], "data_offsets": [2 * index, 2 * index + 2]}
            for index in range(MAX_TENSORS)
        }
    ).replace(b" ", b"")
    assert len(read_container(aligned(raw, bytes(2 * MAX_TENSORS))).entries) == MAX_TENSORS


def test_longest_name_and_highest_rank_pass() -> None:
    """A name of 200 characters and a shape of four axes are accepted."""
    name = "w" * MAX_NAME_CHARS
    raw = header(**{name: {"dtype": "F32", "shape": [1, 2, 1, 3], "data_offsets": [0, 24]}})
    assert read_container(aligned(raw, bytes(24))).entries[name].shape == (1, 2, 1, 3)
