"""The life of an upload: where its file is parsed, and how often."""

from pathlib import Path
from typing import Any

import pytest

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.source import LoadedBackbone
from adapters.config import BackboneIdentity
from adapters.errors import CheckpointError
from service.adapter_cache.cache import AdapterCache
from service.core import CheckedUpload
from service.engine.worker import EngineWorker
from service.engine_process.local import LocalDispatcher
from service.errors import AdapterUnavailable
from service.publishing import checker
from service.registry import Published, Registry
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, UPLOAD, predict, running, upload

check = checker._check


def check_and_count(folder: str, dtype: str, data: bytes, identity: BackboneIdentity) -> CheckedUpload:
    """Run the check in the checker's process and fail unless it parses the file exactly once."""
    calls = []
    parse = checkpoint.parse

    def counting(data: bytes, backbone: BackboneIdentity | None = None) -> Adapter:
        calls.append(data)
        return parse(data, backbone)

    checkpoint.parse = counting
    try:
        checked = check(folder, dtype, data, identity)
    finally:
        checkpoint.parse = parse
    assert calls == [data]
    assert isinstance(checked, CheckedUpload)
    return checked


def test_an_upload_is_parsed_once(tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker parses a published upload exactly once; neither the server nor the engine parses it again."""

    def refuse(data: bytes, backbone: BackboneIdentity | None = None) -> Adapter:
        raise CheckpointError("config", "this process must not parse the file")

    data = make_adapter_bytes(identity=tiny.identity)
    monkeypatch.setattr(checker, "_check", check_and_count)
    with running(tiny, tmp_path) as client:
        monkeypatch.setattr(checkpoint, "parse", refuse)
        assert upload(client, "sst2", data)["live"]
        assert predict(client, "sst2", ["a text"])["predictions"]
        assert upload(client, "sst2", data)["version"] == 1


def test_an_adapter_is_on_the_device_before_one_transaction_makes_it_live(
    tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load takes the bytes that were checked: the database is written once, and no file is read from it."""
    resident: list[bool] = []
    caches: list[AdapterCache] = []
    publish, check_upload = Registry.publish, LocalDispatcher.check_upload

    async def checking(dispatcher: LocalDispatcher, data: bytes, *, load: bool) -> CheckedUpload:
        caches.append(dispatcher.parts.adapter_cache)
        return await check_upload(dispatcher, data, load=load)

    def publishing(registry: Registry, task: str, checked: CheckedUpload, **options: Any) -> Published:
        resident.append(caches[-1].is_resident(checked.digest))
        return publish(registry, task, checked, **options)

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("not needed for an upload")

    monkeypatch.setattr(Registry, "publish", publishing)
    monkeypatch.setattr(LocalDispatcher, "check_upload", checking)
    for name in ("read_adapter", "set_alias"):
        monkeypatch.setattr(Registry, name, refuse)
    with running(tiny, tmp_path) as client:
        for number in (1, 2):
            version = upload(client, "t", make_adapter_bytes(identity=tiny.identity, seed=number))
            assert (version["version"], version["live"]) == (number, True)
            assert predict(client, "t", "a")["version"] == number
    assert resident == [True, True]


def test_an_adapter_that_cannot_be_loaded_is_not_published(
    tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upload is answered 503, and the older version stays live."""

    async def fail(worker: EngineWorker, slot: int, adapter: object) -> None:
        raise AdapterUnavailable("the device has failed")

    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        with monkeypatch.context() as patch:
            patch.setattr(EngineWorker, "write", fail)
            data = make_adapter_bytes(identity=tiny.identity, seed=1)
            answer = client.post("/admin/v1/tasks/t/versions", content=data, headers=UPLOAD)
        assert (answer.status_code, answer.json()["error"]) == (503, "the device has failed")
        assert predict(client, "t", "a")["version"] == 1
        assert client.get("/admin/v1/tasks/t", headers=ADMIN).json()["versions"][-1]["version"] == 1
        assert upload(client, "t", data)["version"] == 2


def test_files_of_other_servers_are_parsed_by_the_engine(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """After a restart the server has not checked the file itself, so the engine parses it before the first load."""
    data = make_adapter_bytes(identity=tiny.identity)
    with running(tiny, tmp_path) as client:
        upload(client, "sst2", data)
    calls = []
    parse = checkpoint.parse

    def counting(data: bytes, backbone: BackboneIdentity | None = None) -> Adapter:
        calls.append(data)
        return parse(data, backbone)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "parse", counting)
        with running(tiny, tmp_path) as client:
            predict(client, "sst2", ["a text"])
    assert calls == [data]


def test_a_version_that_is_not_made_live_is_announced_too(
    tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that is answered 409 has published a version, which every process of the server must know."""
    announced: list[int] = []
    announce = LocalDispatcher.announce

    async def counted(dispatcher: LocalDispatcher) -> None:
        await announce(dispatcher)
        announced.append(dispatcher.parts.follower.snapshot.revision)

    monkeypatch.setattr(LocalDispatcher, "announce", counted)
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        other = make_adapter_bytes(identity=tiny.identity, type="regression", labels=())
        before = len(announced)
        answer = client.post("/admin/v1/tasks/t/versions", content=other, headers=UPLOAD)
        assert (answer.status_code, answer.json()["error_type"]) == (409, "incompatible")
        assert len(announced) == before + 1
        assert predict(client, "t@2", "a")["version"] == 2
