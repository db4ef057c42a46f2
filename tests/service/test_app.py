"""The whole server: start, health, documentation pages, pretrained tasks, and the end."""

import asyncio
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from adapters.backbone.source import LoadedBackbone
from adapters.serving.bank import AdapterBank
from service.app import serving
from service.auth.keys import admin_key_path, load_admin_key
from service.engine.worker import load_backbone_for
from service.engine_process import assemble
from service.errors import InvalidInput
from service.publishing.checks import check_upload
from service.registry import Registry
from service.settings import Settings
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, parts_of, predict, running, upload


def test_health(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A started server is alive and ready, and says what it serves."""
    with running(tiny, tmp_path) as client:
        assert client.get("/health/live").json() == {"status": "ok"}
        ready = client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json() == {
            "status": "ok",
            "backbone": tiny.identity.name,
            "device": "cpu",
            "num_tasks": 0,
            "registry_revision": 0,
        }


async def test_draining_server_is_not_ready(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Once the scheduler is stopped, permits are refused and readiness knows it."""
    settings = Settings(data_dir=tmp_path, admin_key="sixteen-or-more-c", publish_shipped_adapters=False)
    async with serving(settings, lambda _: tiny) as state:
        assert not parts_of(state).admission.closing
        await parts_of(state).scheduler.stop()
        assert parts_of(state).admission.closing


def test_docs_are_served_offline(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """/docs loads its scripts from this server, and every operation has a summary and an example answer."""
    with running(tiny, tmp_path) as client:
        page = client.get("/docs").text
        assert "https://cdn" not in page
        for part in page.split('"'):
            if part.startswith("/static"):
                assert client.get(part).status_code == 200
        document = client.get("/openapi.json").json()
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) > 12
    for method, path, operation in operations:
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        good = next(answer for code, answer in operation["responses"].items() if code.startswith("2"))
        for media, content in good.get("content", {}).items():
            assert media != "application/json" or "example" in content, (method, path)


def test_state_survives_a_restart(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """The next process on the same folder serves the published versions."""
    with running(tiny, tmp_path) as client:
        digest = upload(client, "t", make_adapter_bytes(identity=tiny.identity))["digest"]
    with running(tiny, tmp_path) as client:
        assert predict(client, "t", "a")["digest"] == digest


def test_live_adapters_are_loaded_before_the_first_request(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A restarted server has its live adapters on the device when it says that it is ready."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
    with running(tiny, tmp_path) as client:
        assert "adakron_resident_adapters 1.0" in client.get("/metrics").text


def test_more_adapters_than_memory(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """With room for two of five adapters every task is still answered, by its own adapter."""
    bank = AdapterBank(32, "cpu", tiny.backbone.dtype)
    files = [make_adapter_bytes(identity=tiny.identity, p=200, seed=seed) for seed in range(5)]
    size = bank.num_bytes(2 * (204 * 33 + 32 * 801), 2)
    with running(tiny, tmp_path, adapter_memory_bytes=max(2 * size + 1000, 2**20)) as client:
        digests = [upload(client, f"t{i}", data)["digest"] for i, data in enumerate(files)]
        for _ in range(3):
            for index, digest in enumerate(digests):
                assert predict(client, f"t{index}", "a good film")["digest"] == digest


def test_damaged_adapter_is_never_served(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """An adapter whose stored bytes have changed answers 503; the other tasks go on."""
    good, bad = (make_adapter_bytes(identity=tiny.identity, seed=seed) for seed in range(2))
    with running(tiny, tmp_path) as client:
        upload(client, "good", good)
        upload(client, "bad", bad)
    path = tmp_path / "registry.sqlite3"
    content = path.read_bytes()
    start = content.find(bad[-64:])
    assert start > 0
    path.write_bytes(content[:start] + bytes([content[start] ^ 1]) + content[start + 1 :])
    with running(tiny, tmp_path) as client:
        response = client.post("/v1/bad/predict", json={"inputs": "a"})
        assert (response.status_code, response.json()["error_type"]) == (503, "adapter_unavailable")
        assert predict(client, "good", "a")


def test_registry_of_another_backbone(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A server started on another backbone than its registry's adapters starts, and says what is wrong with each."""
    other = tiny.identity.model_copy(update={"weights_sha256": "f" * 64})
    registry = Registry.open(Settings(data_dir=tmp_path).resolved_registry_url)
    registry.publish("foreign", check_upload(make_adapter_bytes(identity=other)))
    registry.close()
    with running(tiny, tmp_path) as client:
        upload(client, "own", make_adapter_bytes(identity=tiny.identity))
        response = client.post("/v1/foreign/predict", json={"inputs": "a"})
        assert (response.status_code, response.json()["error_type"]) == (503, "adapter_unavailable")
        assert "made for backbone" in response.json()["error"]
        assert predict(client, "own", "a")


def test_generated_admin_key(tmp_path: Path) -> None:
    """Without a setting a key is generated, readable by its owner only, and used again; an empty file is refused."""
    settings = Settings(data_dir=tmp_path / "data")
    key = load_admin_key(settings)
    assert len(key) >= 32
    assert stat.S_IMODE(admin_key_path(settings).stat().st_mode) == 0o600
    assert load_admin_key(settings) == key
    given = "given-by-the-operator"
    assert load_admin_key(Settings(data_dir=tmp_path, admin_key=given)) == given
    admin_key_path(settings).write_text("\n")
    with pytest.raises(InvalidInput, match="delete the file"):
        load_admin_key(settings)
    with pytest.raises(ValidationError, match="at least 16"):
        Settings(data_dir=tmp_path, admin_key="short")


def test_admin_key_that_is_being_written(tmp_path: Path) -> None:
    """If two servers start at the same time with one data folder, the second waits for the first one's key."""
    settings = Settings(data_dir=tmp_path)
    path = admin_key_path(settings)
    path.touch()
    key = "made-by-the-other-server"
    writer = threading.Timer(0.1, path.write_text, [key])
    writer.start()
    assert load_admin_key(settings) == key
    writer.join()


@pytest.mark.parametrize(("place", "why"), [("file", "File exists|Not a directory"), ("key", "Is a directory")])
def test_admin_key_that_cannot_be_kept(tmp_path: Path, place: str, why: str) -> None:
    """A data folder that cannot be used is reported in one line, with the remedy."""
    (tmp_path / "file").touch()
    (tmp_path / "key" / "admin.key").mkdir(parents=True)
    with pytest.raises(InvalidInput, match=rf"admin\.key: ({why}); let user \d+ write there, or set"):
        load_admin_key(Settings(data_dir=tmp_path / place))


@pytest.mark.usefixtures("clean_environment")
def test_device_and_type_follow_the_settings(tiny_folder: Path) -> None:
    """The backbone comes in the type that the settings ask for."""
    for dtype, expected in (("float32", "float32"), ("bfloat16", "bfloat16")):
        loaded = load_backbone_for(Settings(backbone=str(tiny_folder), device="cpu", dtype=dtype))  # type: ignore[arg-type]
        assert str(loaded.backbone.dtype) == f"torch.{expected}"


def test_unexpected_errors_are_told_in_json(
    tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug answers 500 in the shape of every error, and shows no detail."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        monkeypatch.setattr("service.inference.predictor.decode", lambda *a, **k: 1 / 0)
        response = client.post("/v1/t/predict", json={"inputs": "a"})
    assert response.status_code == 500
    assert response.json() == {
        "error": "internal error; the server's log has the details",
        "error_type": "internal",
    }


def test_failed_forward_is_told(tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the engine is 500 for that request, and the next one is answered."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        with monkeypatch.context() as patch:
            patch.setattr(AdapterBank, "site", lambda *a: 1 / 0)
            response = client.post("/v1/t/predict", json={"inputs": "a"})
        assert response.json()["error_type"] == "inference_failed"
        assert predict(client, "t", "a")


def test_many_clients_share_batches(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Requests for several tasks that come together run in fewer forwards than there are requests."""
    with running(tiny, tmp_path) as client:
        for index in range(4):
            upload(client, f"t{index}", make_adapter_bytes(identity=tiny.identity, seed=index))
        _ask_together(client, 64)
        text = client.get("/metrics").text
    batches = float(text.split("adakron_batch_size_count ")[1].split()[0])
    assert batches < 64


def _ask_together(client: TestClient, number: int) -> None:
    async def ask() -> None:
        await asyncio.gather(*(asyncio.to_thread(predict, client, f"t{i % 4}", "a good film") for i in range(number)))

    asyncio.run(ask())
    assert client.get("/admin/v1/tasks", headers=ADMIN).status_code == 200


def test_weights_of_the_registry_are_those_of_the_queues(
    tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight that was set counts at once, for permits and for turns; every other task has 1."""
    weights: list[Callable[[str], float]] = []

    def recorded(make: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, weight: Callable[[str], float], **options: object) -> object:
            weights.append(weight)
            return make(*given, weight=weight, **options)

        return call

    for name in ("Admission", "Scheduler"):
        monkeypatch.setattr(assemble, name, recorded(getattr(assemble, name)))
    with running(tiny, tmp_path) as client:
        upload(client, "heavy", make_adapter_bytes(identity=tiny.identity))
        response = client.put("/admin/v1/tasks/heavy/weight", json={"weight": 3.5}, headers=ADMIN)
        assert response.status_code == 200
        assert len(weights) == 2
        assert [weight("heavy") for weight in weights] == [3.5, 3.5]
        assert [weight("other") for weight in weights] == [1.0, 1.0]


def test_the_first_request_builds_no_route(
    tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All routes are built before the server listens; it takes some 50 ms, in which nothing else is answered."""
    with running(tiny, tmp_path) as client:
        built: list[object] = []
        monkeypatch.setattr(
            "fastapi.routing._IncludedRouter._build_effective_context", lambda *given: built.append(given)
        )
        assert client.get("/metrics").status_code == 200
    assert built == []
