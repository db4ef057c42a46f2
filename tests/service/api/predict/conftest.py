"""A server with one task of each kind."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from tests.support.factories import make_adapter_bytes
from tests.support.serving import running, upload


@pytest.fixture(scope="module")
def files(tiny: LoadedBackbone) -> dict[str, bytes]:
    """One adapter of each kind."""
    identity = tiny.identity
    return {
        "single": make_adapter_bytes(identity=identity, seed=1),
        "multi": make_adapter_bytes(identity=identity, seed=2, type="multi_label", labels=("x", "y", "z")),
        "value": make_adapter_bytes(identity=identity, seed=3, type="regression", labels=(), pair=True),
        "pairs": make_adapter_bytes(identity=identity, seed=4, pair=True, labels=("no", "maybe", "yes")),
        "warm": make_adapter_bytes(identity=identity, seed=1, temperature=2.0),
        "warm-multi": make_adapter_bytes(
            identity=identity, seed=2, type="multi_label", labels=("x", "y", "z"), temperature=2.0
        ),
    }


@pytest.fixture(scope="module")
def client(
    tiny: LoadedBackbone, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("data"), max_inputs=50, max_body_bytes=100_000) as client:
        for task, data in files.items():
            upload(client, task, data)
        yield client
