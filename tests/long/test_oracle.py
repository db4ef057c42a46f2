"""The oracle of the mutation tests: it accepts good files and notices every difference from the safetensors library."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import torch
from torch import Tensor

from adapters import checkpoint
from tests.long.bases import IDENTITY, base_files
from tests.long.oracle import check_accepted
from tests.support.editable_file import HEAD, EditableFile
from tests.support.factories import make_adapter_bytes

GOOD = base_files()[0]
Tensors = dict[str, Tensor]


@pytest.mark.parametrize("data", base_files())
def test_a_good_file_passes(data: bytes, tmp_path: Path) -> None:
    """For every kind of adapter, `checkpoint.parse` and the safetensors library read the same."""
    check_accepted(data, checkpoint.parse(data, IDENTITY), tmp_path / "file")


@pytest.mark.parametrize(
    "alter",
    [
        lambda tensors: {name: tensor for name, tensor in tensors.items() if name != HEAD},
        lambda tensors: tensors | {"more": tensors[HEAD]},
        lambda tensors: {name.replace("head", "tail"): tensor for name, tensor in tensors.items()},
        lambda tensors: tensors | {HEAD: tensors[HEAD].half()},
        lambda tensors: tensors | {HEAD: tensors[HEAD].view(1, -1)},
        lambda tensors: tensors | {HEAD: tensors[HEAD] + 1},
    ],
    ids=["missing tensor", "extra tensor", "name", "dtype", "shape", "values"],
)
def test_other_tensors_are_noticed(alter: Callable[[Tensors], Tensors], tmp_path: Path) -> None:
    """An adapter whose tensors differ from the library's in name, dtype, shape or value fails the oracle."""
    adapter = checkpoint.parse(GOOD, IDENTITY)
    with pytest.raises(AssertionError):
        check_accepted(GOOD, replace(adapter, tensors=alter(dict(adapter.tensors))), tmp_path / "file")


def test_other_metadata_are_noticed(tmp_path: Path) -> None:
    """An adapter whose metadata differ from the library's fails the oracle."""
    adapter = checkpoint.parse(GOOD, IDENTITY)
    other = checkpoint.parse(make_adapter_bytes(identity=IDENTITY, p=2, q=1, layers=(0,), labels=("no", "yes")))
    with pytest.raises(AssertionError):
        check_accepted(GOOD, replace(adapter, metadata=other.metadata), tmp_path / "file")


def test_files_that_the_library_refuses_are_noticed(tmp_path: Path) -> None:
    """A file that the library cannot read fails the oracle, even if `checkpoint.parse` accepted it."""
    adapter = checkpoint.parse(GOOD, IDENTITY)
    file = EditableFile(GOOD)
    with pytest.raises((AssertionError, safetensors.SafetensorError)):
        check_accepted(file.with_text(file.text, file.body[:-4]), adapter, tmp_path / "file")


def test_tensors_own_their_memory() -> None:
    """The tensors are writable and independent of the file that they were read from."""
    adapter = checkpoint.parse(GOOD, IDENTITY)
    adapter.tensors[HEAD].fill_(0)
    assert not torch.equal(checkpoint.parse(GOOD, IDENTITY).tensors[HEAD], adapter.tensors[HEAD])
