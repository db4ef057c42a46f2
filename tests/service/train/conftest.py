"""Fixtures of the training tests."""

from pathlib import Path

import pytest

from service.train.options import TrainOptions
from tests.support.trainings import make_options


@pytest.fixture
def options(tmp_path: Path, tiny_folder: Path) -> TrainOptions:
    """A training of two seconds."""
    return make_options(tmp_path, tiny_folder)
