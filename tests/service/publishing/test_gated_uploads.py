"""Uploads of gated files: the dry run of several keys, very many keys, and the memory that a file needs."""

from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.config import GATE_KEYS, GATE_MEAN, GATE_TABLE
from adapters.gates import MAX_KEYS
from service.errors import UploadRefused
from service.publishing.checker import Checker
from service.publishing.checks import check_upload
from service.settings import Settings
from tests.support.factories import make_gated, make_gated_bytes
from tests.support.serving import UPLOAD, predict, running, upload

KEYS = [f"u{number}" for number in range(9)]
MIB = 2**20


def file_with_an_idle_row(tiny: LoadedBackbone, row: int) -> bytes:
    """A gated file whose last expert does nothing, and whose gate in `row` chooses only that one."""
    gated = make_gated(identity=tiny.identity, keys=KEYS)
    tensors = {name: tensor.clone() for name, tensor in gated.tensors.items()}
    for name, tensor in tensors.items():
        if ".down_" in name:
            tensor[-1] = 0
        elif name.endswith("up.bias"):
            tensor[:] = 0
    table = gated.gates.table.clone()
    table[row] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    gates = {GATE_KEYS: torch.from_numpy(gated.gates.digests), GATE_TABLE: table, GATE_MEAN: gated.gates.mean}
    return checkpoint.serialize(gated.metadata, tensors | gates)


@pytest.mark.parametrize("row", [0, 4, 8])
def test_several_keys_are_tried(tiny: LoadedBackbone, row: int) -> None:
    """The dry run of the first, the middle and the last key can refuse a file, and the message names the row."""
    with pytest.raises(UploadRefused, match=f"with the gate in row {row}: the adapters change nothing") as refused:
        check_upload(file_with_an_idle_row(tiny, row), tiny)
    assert refused.value.reason == "no_effect"


def test_a_good_gated_file_is_described(tiny: LoadedBackbone) -> None:
    """The description has the parameters of one key's adapter, and the size that the file takes in memory."""
    data = make_gated_bytes(identity=tiny.identity, keys=KEYS)
    checked, plain = check_upload(data, tiny), make_gated(identity=tiny.identity, keys=KEYS).merge(None)
    assert checked.num_parameters == plain.metadata.num_parameters
    assert checked.gated_bytes == len(data)
    assert '"gates":{"field":"user"' in checked.metadata_json


async def test_the_most_keys_are_checked_in_little_memory(tiny: LoadedBackbone) -> None:
    """A file with 100,000 keys passes; the checker's process grows by a few times its size."""
    data = make_gated_bytes(identity=tiny.identity, keys=[f"user-{number}" for number in range(MAX_KEYS)])
    dtype = str(tiny.backbone.dtype).removeprefix("torch.")
    checker = Checker(tiny.source, dtype, Settings(check_timeout_s=60))
    try:
        await checker.check(make_gated_bytes(identity=tiny.identity))
        status = Path(f"/proc/{checker.pid}/status")
        before = peak_bytes(status)
        checked = await checker.check(data)
        assert checked.gated_bytes == len(data) > 4 * MIB
        assert peak_bytes(status) - before < 6 * len(data) + 32 * MIB
    finally:
        checker.close()


def peak_bytes(status: Path) -> int:
    """Return the most memory that a process has had."""
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_a_file_of_very_many_keys_is_served(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Any of 100,000 keys is found and answered."""
    keys = [f"user-{number}" for number in range(MAX_KEYS)]
    with running(tiny, tmp_path) as client:
        upload(client, "by-user", make_gated_bytes(identity=tiny.identity, keys=keys))
        for key in (*keys[::9_999], keys[-1]):
            assert predict(client, "by-user", "a good film", context={"user": key})["gate"] == "user"
        assert predict(client, "by-user", "a good film", context={"user": "user-100000"})["gate"] == "mean"


def test_a_file_must_fit_beside_the_adapter_of_one_key(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A gated file that leaves no room for a key is refused, and nothing is stored."""
    data = make_gated_bytes(identity=tiny.identity, keys=[f"user-{number}" for number in range(30_000)])
    assert len(data) > MIB
    with running(tiny, tmp_path, adapter_memory_bytes=MIB) as client:
        response = client.post("/admin/v1/tasks/by-user/versions", content=data, headers=UPLOAD)
        assert (response.status_code, response.json()["reason"]) == (422, "over_memory")
        assert tasks(client) == []
    with running(tiny, tmp_path, adapter_memory_bytes=2 * MIB) as client:
        upload(client, "by-user", data)
        assert tasks(client) == ["by-user"]


def tasks(client: TestClient) -> list[str]:
    return [task["task"] for task in client.get("/v1/tasks").json()["tasks"]]
