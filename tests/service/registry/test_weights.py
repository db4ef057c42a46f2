"""The weights of tasks, in the registry and over HTTP."""

import math
from contextlib import closing
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from service.errors import InvalidInput, UnknownTask
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.backup import export_registry
from tests.support.backups import restore_file
from tests.support.databases import fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, running, upload


def test_a_weight_is_kept(registry: Registry, url: str) -> None:
    """A weight is 1 until it is set, outlives the process and new versions, and is audited."""
    registry.publish("sst2", check_upload(make_adapter_bytes()))
    registry.publish("mnli", check_upload(make_adapter_bytes()))
    assert registry.snapshot().weight("sst2") == 1.0
    before = registry.snapshot()
    registry.set_weight("sst2", 2.5, actor="ann", source="10.0.0.1")
    registry.publish("sst2", check_upload(make_adapter_bytes(seed=1)))
    assert before.weight("sst2") == 1.0
    with closing(Registry.open(url)) as other:
        assert [other.snapshot().weight(task) for task in ("sst2", "mnli", "unknown")] == [2.5, 1.0, 1.0]
    (row,) = [row for row in registry.audit(task="sst2") if row.action == "set_weight"]
    assert (row.action, row.actor, row.source, row.detail) == ("set_weight", "ann", "10.0.0.1", "2.5, was 1")


def test_the_same_weight_changes_nothing(registry: Registry) -> None:
    """Setting the same weight again adds no audit row and no revision."""
    registry.publish("sst2", check_upload(make_adapter_bytes()))
    registry.set_weight("sst2", 2.0)
    revision = registry.revision()
    registry.set_weight("sst2", 2.0)
    assert registry.revision() == revision


@pytest.mark.parametrize("weight", [0.0, 0.009, 100.1, -1.0, math.nan, math.inf])
def test_weights_have_bounds(registry: Registry, weight: float) -> None:
    """No weight can starve the task, or all others."""
    registry.publish("sst2", check_upload(make_adapter_bytes()))
    with pytest.raises(InvalidInput, match=r"from 0\.01 to 100"):
        registry.set_weight("sst2", weight)
    with pytest.raises(UnknownTask):
        registry.set_weight("mnli", 1.0)


def test_a_restore_brings_weights_back(tmp_path: Path, url: str) -> None:
    """A restore brings back the weight, also if nothing else of the task differs, and servers follow."""
    with closing(Registry.open(url)) as registry:
        registry.publish("sst2", check_upload(make_adapter_bytes()))
        registry.set_weight("sst2", 3.0)
        export_registry(url, tmp_path / "backup.sqlite3")
        registry.set_weight("sst2", 0.5)
        assert registry.snapshot().weight("sst2") == 0.5
        restore_file(tmp_path / "backup.sqlite3", url)
        assert registry.snapshot().weight("sst2") == 3.0
    with fresh_database("sqlite", tmp_path / "empty") as empty:
        restore_file(tmp_path / "backup.sqlite3", empty)
        with closing(Registry.open(empty)) as registry:
            assert registry.snapshot().weight("sst2") == 3.0


def test_over_http(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """An administrator of the task sets the weight; lists show it; an invalid weight is refused."""
    with running(tiny, tmp_path) as client:
        for task in ("t", "u"):
            upload(client, task, make_adapter_bytes(identity=tiny.identity))
        keys = {
            name: client.post("/admin/v1/keys", json={"name": name, **what}, headers=ADMIN).json()["key"]
            for name, what in {
                "of t": {"scopes": ["admin"], "tasks": ["t"]},
                "of u": {"scopes": ["admin"], "tasks": ["u"]},
                "uploader": {"scopes": ["upload"]},
            }.items()
        }

        def put(key: str, weight: object, task: str = "t") -> int:
            headers = {"Authorization": f"Bearer {keys[key]}"}
            return client.put(f"/admin/v1/tasks/{task}/weight", json={"weight": weight}, headers=headers).status_code

        assert [put(key, 2) for key in ("of t", "of u", "uploader")] == [200, 403, 403]
        assert put("of t", 2, "nothing") == 403
        assert [put("of t", weight) for weight in (0, 101, "2", None, True)] == [422] * 5
        tasks = client.get("/admin/v1/tasks", headers=ADMIN).json()["tasks"]
        assert {task["task"]: task["weight"] for task in tasks} == {"t": 2.0, "u": 1.0}
        missing = client.put("/admin/v1/tasks/nothing/weight", json={"weight": 1}, headers=ADMIN)
        assert missing.json()["error_type"] == "unknown_task"
