"""A finished adapter is handed over: into a registry or to a server, live unless that would break clients."""

import json
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from service.registry import Registry
from service.train.errors import PublishError
from service.train.options import PublishOptions
from service.train.publish import publish
from tests.support.databases import DATABASES, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.serving import KEY, listening

PATH = Path("runs/t/adapter.safetensors")


def publish_twice(options: PublishOptions, tiny: LoadedBackbone) -> None:
    """First a classifier, then a regression: refused, then allowed; then one with further labels of the first kind."""
    one = make_adapter_bytes(identity=tiny.identity)
    other = make_adapter_bytes(identity=tiny.identity, type="regression", labels=())
    first = publish(options, "t", one, PATH)
    assert first is not None
    assert (first.version, first.activated, first.changes) == (1, True, ())
    with pytest.raises(PublishError) as refused:
        publish(options, "t", other, PATH)
    for words in (
        f"{PATH} is complete and published, but not live",
        "t@2 was not made live",
        "type: single_label -> regression; labels removed: 'negative', 'positive'",
        "--resume --allow-incompatible",
    ):
        assert words in str(refused.value)
    allowed = publish(options.change(allow_incompatible=True), "t", other, PATH)
    assert allowed is not None
    assert (allowed.version, allowed.activated) == (2, True)
    assert allowed.changes == ("type: single_label -> regression", "labels removed: 'negative', 'positive'")
    waiting = publish(options.change(activate=False), "t", one, PATH)
    assert waiting is not None
    assert (waiting.version, waiting.activated) == (1, False)
    assert waiting.changes[0] == "type: regression -> single_label"


@pytest.mark.parametrize("kind", DATABASES)
def test_into_a_registry(tiny: LoadedBackbone, tmp_path: Path, kind: str) -> None:
    """--registry passes no check by, though no server is there to make it."""
    with fresh_database(kind, tmp_path) as url:
        publish_twice(PublishOptions(registry=url), tiny)
        registry = Registry.open(url)
        assert registry.snapshot().resolve("t").version == 2
        registry.close()


def test_to_a_server(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """With --url the same holds, and the server answers by the version that was allowed."""
    with listening(tiny, tmp_path) as server:
        publish_twice(PublishOptions(url=f"http://127.0.0.1:{server.port}", key=KEY), tiny)
        status, body = server.request("GET", "/v1/tasks/t")
        assert (status, json.loads(body)["version"]) == (200, 2)
