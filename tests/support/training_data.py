"""Data files for the tests of training: written, loaded, and refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.train.data.load import TaskData, load_data
from service.train.errors import DataError
from service.train.options import DataOptions


def write(path: Path, content: str | bytes | list[dict[str, Any]]) -> str:
    """Write a file (a list: as JSON Lines), and return its path as the command line has it."""
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def load(train: str, validation: str | None = None, *, seed: int = 42, **changes: Any) -> TaskData:
    """Load the data of a task."""
    return load_data(DataOptions(train=train, validation=validation, **changes), seed=seed)


def complaint(train: str, validation: str | None = None, **changes: Any) -> str:
    """The message of the DataError that loading raises; always one line."""
    with pytest.raises(DataError) as caught:
        load(train, validation, **changes)
    message = str(caught.value)
    assert "\n" not in message
    return message
