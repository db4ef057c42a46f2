"""`adakron push --hub` and `adakron pull`, with the tiny backbone and a small Hub on this machine."""

import errno
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from service.commands.app import app
from service.hub.card import ADAPTER_FILE
from tests.support.factories import make_adapter_bytes, make_gated_bytes
from tests.support.fake_hub import FakeHub, fake_hub, talk_to

pytestmark = [
    pytest.mark.usefixtures("clean_environment", "one_thread"),
    pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning"),  # of the Hub's own library
]
NAME = "tester/tickets"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_folder: Path) -> Iterator[FakeHub]:
    """A Hub, and an empty working folder, on the tiny backbone."""
    monkeypatch.setenv("ADAKRON_BACKBONE", str(tiny_folder))
    monkeypatch.chdir(tmp_path)
    with fake_hub() as hub:
        talk_to(hub, monkeypatch)
        yield hub


@pytest.fixture
def adapter_file(tmp_path: Path, tiny: LoadedBackbone) -> Path:
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(make_adapter_bytes(identity=tiny.identity))
    return path


def run(*arguments: object) -> Result:
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return runner.invoke(app, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    """Return the one line of a command that ends with exit code 2."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1
    return result.output


def test_gated_files_stay_off_the_hub(hub: FakeHub, tmp_path: Path, tiny: LoadedBackbone) -> None:
    """A gated file, which has data of each user, is not pushed."""
    path = tmp_path / "gated.safetensors"
    path.write_bytes(make_gated_bytes(identity=tiny.identity))
    assert "holds the gates of 3 keys, which stay off the Hub" in refused(run("push", "tickets", path, "--hub", NAME))
    assert NAME not in hub.models


def test_push_and_pull(hub: FakeHub, adapter_file: Path, tmp_path: Path) -> None:
    """A file is pushed with its card, and pulled under the repository's name."""
    result = run("push", "tickets", adapter_file, "--hub", NAME, "--license", "mit", "--private")
    assert result.exit_code == 0, result.output
    commit = hub.models[NAME].branches["main"]
    assert f"adakron pull {NAME} --revision {commit}" in result.output
    assert hub.models[NAME].private
    assert b"license: mit" in hub.files(NAME)["README.md"]
    result = run("pull", NAME, "--revision", commit)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "tickets.safetensors").read_bytes() == adapter_file.read_bytes()
    assert f"tickets.safetensors: {adapter_file.stat().st_size:,} bytes from {NAME} at {commit[:12]}" in result.output


def test_a_bad_file_is_not_pushed(hub: FakeHub, tmp_path: Path) -> None:
    """A file that an upload would refuse is not pushed: another backbone's, not an adapter, too large."""
    other, nothing = tmp_path / "other.safetensors", tmp_path / "nothing.safetensors"
    other.write_bytes(make_adapter_bytes())
    nothing.write_bytes(b"nothing of the kind")
    assert "refused (other_backbone)" in refused(run("push", "tickets", other, "--hub", NAME))
    assert "refused (container_header_length)" in refused(run("push", "tickets", nothing, "--hub", NAME))
    assert not hub.requests


def test_a_useless_file_is_not_pushed(hub: FakeHub, adapter_file: Path) -> None:
    """The dry run is made: adapters that change nothing are refused."""
    adapter = checkpoint.parse(adapter_file.read_bytes())
    idle = {name: torch.zeros_like(tensor) if ".up." in name else tensor for name, tensor in adapter.tensors.items()}
    adapter_file.write_bytes(checkpoint.serialize(adapter.metadata, idle))
    assert "refused (no_effect)" in refused(run("push", "tickets", adapter_file, "--hub", NAME))
    assert not hub.requests


def test_a_large_file_is_not_pushed(hub: FakeHub, adapter_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ADAKRON_MAX_UPLOAD_BYTES limits push and pull."""
    monkeypatch.setenv("ADAKRON_MAX_UPLOAD_BYTES", "2048")
    assert "the limit is 2,048" in refused(run("push", "tickets", adapter_file, "--hub", NAME))
    hub.new(NAME).commit({ADAPTER_FILE: adapter_file.read_bytes()})
    assert "the limit is 2,048" in refused(run("pull", NAME))


@pytest.mark.parametrize("task", ["Tickets", "a b", "-a"])
def test_names_of_tasks(hub: FakeHub, adapter_file: Path, task: str) -> None:
    """A task name that no server accepts is not pushed."""
    assert "a name is 1 to 63 of a-z" in refused(run("push", "--hub", NAME, "--", task, adapter_file))


def test_a_bad_file_is_not_kept(hub: FakeHub, tmp_path: Path) -> None:
    """A file for another backbone is refused after the download, and no part of it is left."""
    hub.new(NAME).commit({ADAPTER_FILE: make_adapter_bytes()})
    assert f"{NAME}: refused (other_backbone)" in refused(run("pull", NAME))
    assert list(tmp_path.iterdir()) == []


def test_pull_replaces_nothing(hub: FakeHub, adapter_file: Path) -> None:
    """An existing file is replaced with --force only, which is checked before a request is sent."""
    hub.new(NAME).commit({ADAPTER_FILE: adapter_file.read_bytes()})
    target = adapter_file.with_name("mine.safetensors")
    target.write_bytes(b"mine")
    assert "mine.safetensors exists: --force replaces it" in refused(run("pull", NAME, "--output", target))
    assert not hub.requests
    assert run("pull", NAME, "--output", target, "--force").exit_code == 0
    assert target.read_bytes() == adapter_file.read_bytes()


def test_a_file_that_cannot_be_written(
    hub: FakeHub, adapter_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is one line, and no part of the file is left."""
    hub.new(NAME).commit({ADAPTER_FILE: adapter_file.read_bytes()})

    def full(self: Path, target: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert "tickets.safetensors cannot be written: No space left" in refused(run("pull", NAME))
    assert list(tmp_path.iterdir()) == [adapter_file]


def test_pull_onto_a_server(hub: FakeHub, adapter_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --task the file goes to a server, which checks it, and no file is written."""
    hub.new(NAME).commit({ADAPTER_FILE: adapter_file.read_bytes()})
    sent: list[tuple[str, bytes, bool]] = []

    def upload(self: object, task: str, data: bytes, *, activate: bool, allow_incompatible: bool) -> object:
        sent.append((task, data, activate))
        return SimpleNamespace(task=task, version=3, live=activate, digest="0" * 64, changes=None)

    monkeypatch.setattr("service.client.Admin.upload", upload)
    result = run("pull", NAME, "--task", "tickets", "--no-activate")
    assert result.exit_code == 0, result.output
    assert "tickets@3 is not live" in result.output
    assert sent == [("tickets", adapter_file.read_bytes(), False)]
    assert list(tmp_path.iterdir()) == [adapter_file]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("push", "t", "FILE", "--private"), "--private: only with --hub"),
        (("push", "t", "FILE", "--license", "mit", "--force"), "--license, --force: only with --hub"),
        (("push", "t", "FILE", "--hub", NAME, "--url", "http://x"), "--url: for a server"),
        (("push", "t", "FILE", "--hub", "tickets"), "is not a repository's name"),
        (("pull", "tickets"), "is not a repository's name"),
        (("pull", NAME, "--task", "t", "--output", "x"), "--output: for a file"),
        (("pull", NAME, "--task", "t", "--backbone", "x", "--force"), "--force, --backbone: for a file"),
        (("pull", NAME, "--output", "none/x"), "is not a folder"),
        (("pull", NAME, "--url", "http://x"), "--url: only with --task"),
        (("pull", NAME), "no model tester/tickets at"),
    ],
)
def test_incompatible_options(hub: FakeHub, adapter_file: Path, arguments: tuple[str, ...], says: str) -> None:
    """Options of one target are refused at the other, in one line."""
    filled = [adapter_file if argument == "FILE" else argument for argument in arguments]
    assert says in refused(run(*filled))
    assert not hub.models
