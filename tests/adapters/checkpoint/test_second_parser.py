"""The safetensors library's view of a file, held against our own."""

from collections.abc import Callable
from typing import Any

import pytest
import safetensors
import torch

from adapters import checkpoint
from adapters.checkpoint import second_parser
from adapters.checkpoint.container import read_container
from adapters.errors import CheckpointError
from tests.support.editable_file import HEAD
from tests.support.factories import make_adapter_bytes

GOOD = make_adapter_bytes()
Found = list[tuple[str, dict[str, Any]]]


def altered(name: str, **fields: Any) -> Callable[[Found], Found]:
    return lambda found: [(key, value | fields if key == name else value) for key, value in found]


@pytest.mark.parametrize(
    "alter",
    [
        lambda found: found[1:],
        lambda found: [*found, ("more", found[0][1])],
        lambda found: [*found, found[0]],
        lambda found: [("renamed", found[0][1]), *found[1:]],
        altered(HEAD, dtype="F16"),
        altered(HEAD, shape=[1, 2]),
        altered(HEAD, data=bytearray(8)),
        altered(HEAD, data=bytearray(4)),
        altered(HEAD, data=bytearray(12)),
    ],
    ids=["one less", "one more", "one twice", "name", "dtype", "shape", "bytes", "fewer bytes", "more bytes"],
)
def test_another_view_is_refused(alter: Callable[[Found], Found], monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that reads another name, dtype, shape or byte than we do is not believed, nor are we."""
    deserialize = safetensors.deserialize
    monkeypatch.setattr(safetensors, "deserialize", lambda data: alter(deserialize(data)))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.parse(GOOD)
    assert caught.value.reason == "container_parsers_disagree"


def test_other_metadata_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that reads other metadata than we do is not believed."""
    other = make_adapter_bytes(labels=("no", "yes"))
    metadata = read_container(other).metadata
    monkeypatch.setattr(second_parser, "_library_metadata", lambda data, body: metadata)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.parse(GOOD)
    assert caught.value.reason == "container_parsers_disagree"


def test_what_the_library_refuses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the library becomes a refusal that quotes it."""

    def refuse(data: bytes) -> Found:
        raise safetensors.SafetensorError("InvalidHeader")

    monkeypatch.setattr(safetensors, "deserialize", refuse)
    with pytest.raises(CheckpointError, match="InvalidHeader") as caught:
        checkpoint.parse(GOOD)
    assert caught.value.reason == "container_parsers_disagree"


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_reads_the_same_on_every_system(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a file in memory or in a temporary folder, the library shows the metadata and the tensors."""
    monkeypatch.setattr(second_parser.sys, "platform", platform)
    tensors = second_parser.read_tensors(GOOD, read_container(GOOD))
    expected = safetensors.torch.load(GOOD)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
