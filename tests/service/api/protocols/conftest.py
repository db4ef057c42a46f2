"""A server with one task of each kind, for the Open Inference Protocol."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.factories import make_adapter_bytes
from tests.support.open_inference import LABELS, TASKS
from tests.support.serving import running, settings_for


@pytest.fixture(scope="module")
def folder(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose registry has each task, and two versions of one."""
    folder = tmp_path_factory.mktemp("data")
    with closing(Registry.open(settings_for(folder).resolved_registry_url)) as registry:
        for task, options in TASKS.items():
            registry.publish(task, check_upload(make_adapter_bytes(identity=tiny.identity, **options)))
        registry.publish(
            "single", check_upload(make_adapter_bytes(identity=tiny.identity, seed=9, labels=LABELS)), activate=False
        )
        registry.set_alias("single", "canary", 2)
    return folder


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, folder: Path) -> Iterator[TestClient]:
    with running(tiny, folder, max_inputs=50) as client:
        yield client
