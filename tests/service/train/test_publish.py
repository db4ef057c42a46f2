"""A finished adapter is handed over: into a registry or to a server, live unless that would break clients."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from service.client import Unauthorised
from service.registry import Registry
from service.train.errors import PublishError
from service.train.options import PublishOptions, TrainOptions
from service.train.publish import publish
from tests.support.databases import DATABASES, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.serving import KEY, listening
from tests.support.trainings import train

pytestmark = pytest.mark.usefixtures("one_thread")
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


def test_it_is_published_in_a_registry(options: TrainOptions, tmp_path: Path) -> None:
    """--registry writes the file as the next version, which is live by default."""
    options = options.change(epochs=1)
    url = f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    result = train(options.change(registry=url))
    registry = Registry.open(url)
    try:
        published = registry.snapshot().resolve("sentiment")
        assert published.digest == result.digest
        assert registry.read_adapter(result.digest) == result.path.read_bytes()
    finally:
        registry.close()
    assert result.publication is not None
    assert result.publication.version == published.version == 1


class FakeClient:
    """Stands in for service.client.AdaKronClient and records uploads."""

    uploads: list[tuple[str, str, int, bool]]
    answer: Unauthorised | None

    def __init__(self, url: str, key: str, **_: object) -> None:
        self.url = f"{url} with {key}"
        self.admin = self

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def upload(self, task: str, data: bytes, *, activate: bool, allow_incompatible: bool) -> Any:
        """Record the upload, or raise `answer`."""
        if self.answer:
            raise self.answer
        self.uploads.append((self.url, task, len(data), activate))
        return SimpleNamespace(version=3, live=activate, changes=None)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    """The class that publishing uses."""
    FakeClient.uploads, FakeClient.answer = [], None
    monkeypatch.setattr("service.train.publish.client.AdaKronClient", FakeClient)
    return FakeClient


def test_it_is_uploaded_to_a_server(options: TrainOptions, client: type[FakeClient]) -> None:
    """--url uploads the file with the key, and --no-activate is passed on."""
    target = {"url": "http://server", "key": "secret", "activate": False}
    result = train(options.change(**target, epochs=1))
    assert client.uploads == [("http://server with secret", "sentiment", result.path.stat().st_size, False)]
    assert result.publication is not None
    assert (result.publication.version, result.publication.activated) == (3, False)


def test_a_refused_upload_loses_nothing(options: TrainOptions, client: type[FakeClient]) -> None:
    """The error says that the file is there; --resume uploads it without training."""
    target = {"url": "http://server", "key": "secret"}
    options = options.change(**target, epochs=1)
    client.answer = Unauthorised("no key", 401)
    with pytest.raises(PublishError, match="is complete, but could not be published: 401: no key"):
        train(options)
    client.answer = None
    digest = checkpoint.parse((options.folder / "adapter.safetensors").read_bytes()).digest
    assert train(options.change(resume=True)).digest == digest
    assert len(client.uploads) == 1
