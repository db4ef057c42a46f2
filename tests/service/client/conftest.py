"""Both Python clients, the sync and the async one."""

from typing import Any

import pytest

from service.client import AdaKronClient
from tests.support.clients import Blocking


@pytest.fixture(params=[AdaKronClient, Blocking], ids=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param
