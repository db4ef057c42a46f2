"""A path for a backup, and a registry that has rows in every table."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.registry import Registry
from tests.support.backups import fill


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path for a backup with characters that a URL would escape."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "a backup?#%.sqlite3"


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    fill(url)
    with closing(Registry.open(url)) as registry:
        yield registry
