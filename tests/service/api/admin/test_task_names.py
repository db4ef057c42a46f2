"""Names of tasks and aliases: wherever one is taken, a refusal names the nearest name that would do."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from adapters.backbone.source import LoadedBackbone
from service.commands.app import app
from service.core import find_name_fault
from service.errors import InvalidInput
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.values import make_key
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, running, upload

NEAR = "customer-intent would do"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("customer_intent", "customer-intent"),
        ("Customer Intent", "customer-intent"),
        ("-beta", "beta"),
        ("Müßig", "muig"),
        ("intent/v2.1", "intent-v2-1"),
        ("x" * 80, "x" * 63),
        ("a" * 62 + "--b", "a" * 62),
    ],
)
def test_the_nearest_name_is_named(name: str, near: str) -> None:
    """Lower case, without accents, hyphens instead of other characters, at most 63."""
    fault = find_name_fault("task", name)
    assert fault
    assert fault.endswith(f"; {near} would do")


@given(st.text(max_size=100), st.sampled_from(("task", "alias")))
def test_what_would_do_does(name: str, kind: Literal["task", "alias"]) -> None:
    """The name in a refusal is itself accepted, whatever was given; a refusal is one printable line."""
    fault = find_name_fault(kind, name)
    if fault is not None:
        assert fault.isprintable()
        if fault.endswith(" would do"):
            assert find_name_fault(kind, fault.removesuffix(" would do").rpartition("; ")[2]) is None


def test_an_alias_is_no_number() -> None:
    """A number is the name of a version."""
    assert find_name_fault("task", "7") is None
    assert str(find_name_fault("alias", "7")).endswith("and is not a number; v7 would do")


@pytest.mark.parametrize(
    "arguments",
    [
        "train --task customer_intent --train nowhere.csv",
        "push customer_intent {file}",
        "push customer_intent {file} --hub owner/name",
        "pull owner/name --task customer_intent",
        "keys create ci --scope predict --task customer_intent",
        "activate t 1 --alias customer_intent",
    ],
)
def test_a_command_refuses_a_name_before_any_work(tmp_path: Path, arguments: str) -> None:
    """One line and code 2, before a file is read or a server is asked."""
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"not an adapter")
    asked = [part.format(file=file) for part in arguments.split()]
    result = CliRunner().invoke(app, asked, env={"ADAKRON_URL": "http://127.0.0.1:9", "TERM": "dumb"})
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith(NEAR), result.output


def test_a_training_with_a_bad_name_imports_no_torch() -> None:
    """It is refused in less time than the libraries take to load."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom service.train.command import app\n"
        "result = CliRunner().invoke(app, ['--task', 'a_b', '--train', 'x.csv'])\n"
        "sys.exit(result.exit_code != 2 or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with the task `t`."""
    with running(tiny, tmp_path_factory.mktemp("names")) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        yield client


def test_a_server_names_the_nearest_name(client: TestClient) -> None:
    """In the answers to uploads, aliases, keys and the audit's filter."""
    kind = {"Content-Type": "application/octet-stream", **ADMIN}
    answers = [
        client.post("/admin/v1/tasks/customer_intent/versions", content=b"x", headers=kind),
        client.put("/admin/v1/tasks/t/aliases/customer_intent", json={"version": 1}, headers=ADMIN),
        client.post(
            "/admin/v1/keys", headers=ADMIN, json={"name": "ci", "scopes": ["predict"], "tasks": ["customer_intent"]}
        ),
        client.get("/admin/v1/audit", params={"task": "customer_intent"}, headers=ADMIN),
    ]
    for answer in answers:
        assert answer.status_code == 422
        assert NEAR in answer.json()["error"], answer.text


def test_the_registry_names_the_nearest_name(tmp_path: Path) -> None:
    """A registry into which a training publishes without a server."""
    registry = Registry.open(f"sqlite:///{tmp_path / 'registry.sqlite3'}")
    try:
        for call in (
            lambda: registry.publish("customer_intent", check_upload(make_adapter_bytes())),
            lambda: registry.set_alias("t", "customer_intent", 1),
            lambda: make_key("ci", ["predict"], ["customer_intent"]),
        ):
            with pytest.raises(InvalidInput, match=NEAR):
                call()
    finally:
        registry.close()
