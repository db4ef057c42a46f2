"""Shared by the tests of the cache: adapters on a shelf, and a cache for two of them."""

import pytest

from service.adapter_cache.cache import AdapterCache
from tests.support.shelf import Shelf


@pytest.fixture
def shelf() -> Shelf:
    """Four adapters of one size, and a large one, nearly twice that."""
    return Shelf([3, 3, 3, 3, 6])


@pytest.fixture
def cache(shelf: Shelf) -> AdapterCache:
    """Room for two of the small ones."""
    return shelf.cache(2 * shelf.size(0) + 10)
