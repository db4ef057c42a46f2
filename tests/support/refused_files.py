"""Invalid files, each with one known reason code, made from a valid file for any backbone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from adapters.config import BackboneIdentity
from adapters.errors import Reason
from tests.support.editable_file import EditableFile, Makers
from tests.support.factories import make_adapter_bytes, make_gated_bytes
from tests.support.refused_descriptions import refused_configs, refused_json
from tests.support.refused_entries import refused_entries
from tests.support.refused_gates import refused_gates
from tests.support.refused_headers import refused_headers
from tests.support.refused_tensors import refused_behaviour, refused_tensors


@dataclass(frozen=True)
class RefusedFile:
    """An invalid file."""

    name: str
    reason: Reason  # the expected reason code
    make: Callable[[], bytes]
    needs_forward: bool  # `checkpoint.parse` accepts the file and `verification.verify` refuses it


def refused_files(identity: BackboneIdentity) -> dict[str, RefusedFile]:
    """Return all invalid files by name, for a backbone with at least two layers. One file has 64 MiB."""
    good = EditableFile(make_adapter_bytes(identity=identity))
    half = EditableFile(make_adapter_bytes(identity=identity, dtype=torch.float16))
    gated = EditableFile(make_gated_bytes(identity=identity))
    static = (
        refused_headers(good),
        refused_entries(good),
        refused_json(good),
        refused_configs(good),
        refused_tensors(good, half),
        refused_gates(gated, good),
    )
    files = [file for makers in static for file in _files(makers, needs_forward=False)]
    files += _files(refused_behaviour(good), needs_forward=True)
    by_name = {file.name: file for file in files}
    assert len(by_name) == len(files), "two files have one name"
    return by_name


def _files(makers: Makers, *, needs_forward: bool) -> Iterator[RefusedFile]:
    for reason, by_name in makers.items():
        for name, make in by_name.items():
            yield RefusedFile(name, reason, make, needs_forward)
