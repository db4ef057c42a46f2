"""The adapter file: round trip, digest and backbone."""

from typing import Any

import pytest
import safetensors.torch
import torch

from adapters import checkpoint
from adapters.adapter import AdapterMetadata, GoldenExample
from adapters.config import BackboneIdentity
from adapters.errors import MAX_MESSAGE_CHARS, CheckpointError
from tests.support.editable_file import EditableFile
from tests.support.factories import make_adapter, make_adapter_bytes, tiny_identity

GOOD = make_adapter_bytes()


def test_the_name_of_a_backbone_does_not_matter() -> None:
    """A backbone is identified by its weights and tokenizer, not by its name."""
    renamed = tiny_identity().model_copy(update={"name": "another-name"})
    assert checkpoint.parse(GOOD, renamed).metadata.backbone.name == "tiny"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights_sha256": "1" * 64}, "other_backbone"),
        ({"tokenizer_sha256": "1" * 64}, "other_tokenizer"),
        ({"num_layers": 3}, "other_backbone"),
        ({"hidden_size": 64}, "other_backbone"),
    ],
)
def test_another_backbone_refuses(changes: dict[str, Any], reason: str) -> None:
    """A valid file is refused for a backbone with other weights, tokenizer or shape."""
    here = BackboneIdentity(**(tiny_identity().model_dump() | changes))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.parse(GOOD, here)
    assert caught.value.reason == reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_round_trip(dtype: torch.dtype) -> None:
    """Reading returns what was written, and writing it again gives the same bytes."""
    data = make_adapter_bytes(dtype=dtype, labels=("übel", "gut"), seed=3)
    adapter = checkpoint.parse(data)
    assert adapter.metadata.task.labels == ("übel", "gut")
    assert all(tensor.dtype == dtype for tensor in adapter.tensors.values())
    assert checkpoint.serialize(adapter.metadata, adapter.tensors, dtype) == data
    assert adapter.num_bytes == len(data) - 8 - int.from_bytes(data[:8], "little")


def test_rules_of_tokenizing_are_part_of_the_file() -> None:
    """Truncation and special tokens are stored; their defaults are not written."""
    data = make_adapter_bytes(truncation="head-tail", special_tokens="text")
    task = checkpoint.parse(data).metadata.task
    assert (task.truncation, task.special_tokens) == ("head-tail", "text")
    for other in (GOOD, make_adapter_bytes(format_version=1)):
        task = checkpoint.parse(other).metadata.task
        assert (task.truncation, task.special_tokens) == ("right", "obeyed")
        assert b"truncation" not in other
        assert b"special_tokens" not in other


@pytest.mark.parametrize("label", ["übel", "日本語", "👍", 'say "no"', "back\\slash", "\u200d\u00a0"])
def test_characters_count_not_escapes(label: str) -> None:
    """Version 2 stores labels as UTF-8, version 1 as escapes; both read as the same labels."""
    new, old = (make_adapter_bytes(labels=(label, "b"), format_version=version) for version in (2, 1))  # type: ignore[arg-type]
    assert checkpoint.parse(new).metadata.task.labels == checkpoint.parse(old).metadata.task.labels == (label, "b")
    assert (label.encode() in new) == (label not in ('say "no"', "back\\slash"))
    assert (label.encode() in old) == (label.isascii() and label not in ('say "no"', "back\\slash"))
    for data in (new, old):
        adapter = checkpoint.parse(data)
        assert checkpoint.serialize(adapter.metadata, adapter.tensors) == data


def test_the_most_labels_of_the_most_characters_fit() -> None:
    """1,024 labels of 200 characters, the documented limit, fit into a file."""
    labels = tuple(f"{index:04}".ljust(200, "x") for index in range(1024))
    assert checkpoint.parse(make_adapter_bytes(labels=labels)).metadata.task.labels == labels


@pytest.mark.parametrize("temperature", [0.01, 1.3574, 100.0])
def test_temperature_is_part_of_the_file(temperature: float) -> None:
    """A temperature survives a round trip to the byte."""
    data = make_adapter_bytes(temperature=temperature)
    adapter = checkpoint.parse(data)
    assert adapter.metadata.task.temperature == temperature
    assert checkpoint.serialize(adapter.metadata, adapter.tensors) == data


def test_temperature_of_one_is_not_spelled_out() -> None:
    """A temperature of 1 is the default and is not written."""
    assert "temperature" not in EditableFile(GOOD).text
    assert checkpoint.parse(GOOD).metadata.task.temperature == 1.0
    assert make_adapter_bytes(temperature=1.0) == GOOD


def test_tensors_are_those_of_the_library() -> None:
    """The safetensors library reads the same names and values."""
    ours, theirs = checkpoint.parse(GOOD).tensors, safetensors.torch.load(GOOD)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_digest_names_the_bytes() -> None:
    """Other weights or another spelling of the header change the digest."""
    respelled = EditableFile(GOOD).replaced('"shape":[2]', '"shape": [2]')
    digests = {checkpoint.parse(data).digest for data in (GOOD, make_adapter_bytes(seed=1), respelled)}
    assert len(digests) == 3
    assert all(len(digest) == 64 for digest in digests)


def test_serialize_refuses_invalid_adapters() -> None:
    """`serialize` refuses an adapter that `parse` would refuse."""
    adapter = make_adapter()
    infinite = {name: tensor / 0 for name, tensor in adapter.tensors.items()}
    with pytest.raises(CheckpointError) as caught:
        checkpoint.serialize(adapter.metadata, infinite)
    assert caught.value.reason == "not_finite"


def test_most_of_everything_passes() -> None:
    """A file at all limits is accepted: 16 examples, 24,576 characters, 32 metrics and the deepest nesting."""
    adapter = make_adapter()
    examples = tuple(GoldenExample(inputs="x" * 1536, logits=(0.0, 1.0)) for _ in range(16))
    training: dict[str, Any] = {"a": [[[[[[1]]]]]]}
    metrics = {f"{index:064}": index / 10 for index in range(32)}
    updates = {"examples": examples, "metrics": metrics, "training": training}
    metadata = AdapterMetadata.model_validate(dict(adapter.metadata) | updates)
    assert checkpoint.parse(checkpoint.serialize(metadata, adapter.tensors)).metadata == metadata


def test_messages_are_short_and_printable() -> None:
    """Messages are cut, and control characters in them are escaped."""
    message = str(CheckpointError("config", "\x1b[31m \ud800 \u202e\n" * 100))
    assert len(message) == MAX_MESSAGE_CHARS
    assert message.isprintable()
    assert message.startswith("\\x1b[31m \\ud800 \\u202e\\n")
