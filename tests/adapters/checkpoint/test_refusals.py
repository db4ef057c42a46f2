"""Every invalid file is refused with its reason code, and every reason code has a file."""

import re

import pytest

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.errors import MAX_MESSAGE_CHARS, CheckpointError
from adapters.serving.verification import verify
from tests.support.factories import tiny_identity
from tests.support.paths import ROOT
from tests.support.refused_files import RefusedFile, refused_files

FORMAT = ROOT / "docs" / "adapter-format.md"
NAMES = tuple(refused_files(tiny_identity()))
# no known file causes these; test_verification.py replaces parts of the model to cause them
REPLACED = {"dry_run_shape", "dry_run_batch"}
# test_verification.py causes these with a backbone without a pooler and with one in float16
OTHER_BACKBONE = {"pooling", "dry_run_not_finite"}


@pytest.fixture(scope="module")
def files(tiny: LoadedBackbone) -> dict[str, RefusedFile]:
    """The invalid files for the tiny backbone."""
    return refused_files(tiny.identity)


@pytest.mark.parametrize("name", NAMES)
def test_refused_for_its_reason(name: str, files: dict[str, RefusedFile], tiny: LoadedBackbone) -> None:
    """Each invalid file is refused with its reason code and a short, printable message."""
    file = files[name]
    data = file.make()
    if file.needs_forward:
        adapter = checkpoint.parse(data, tiny.identity)
        with pytest.raises(CheckpointError) as caught:
            verify(tiny, adapter)
    else:
        with pytest.raises(CheckpointError) as caught:
            checkpoint.parse(data, tiny.identity)
    assert caught.value.reason == file.reason
    message = str(caught.value)
    assert 10 < len(message) <= MAX_MESSAGE_CHARS
    assert message.isprintable()
    assert message != file.reason


def test_there_are_enough() -> None:
    """There are at least ninety different files."""
    assert len(NAMES) >= 90
    made = [file.make() for file in refused_files(tiny_identity()).values()]
    assert len(set(made)) == len(made)


def test_every_reason_has_a_file(files: dict[str, RefusedFile]) -> None:
    """Each reason code in docs/adapter-format.md has a file here or a test elsewhere."""
    section = FORMAT.read_text().split("## What is refused")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == {file.reason for file in files.values()} | REPLACED | OTHER_BACKBONE
