"""The `adakron` commands that need no server, and the others without one."""

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service.client import ApiKey, AuditEntry, Changes, Task, TaskVersions, Version
from service.commands.app import app
from service.commands.terminal import console
from tests.support.factories import make_adapter_bytes, make_gated_bytes, tiny_identity

pytestmark = pytest.mark.usefixtures("clean_environment")
runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture
def adapter_file(tmp_path: Path) -> Path:
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(make_adapter_bytes())
    return path


def test_help_lists_every_command() -> None:
    """`adakron --help` lists each command, and each command has a help text of its own."""
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    group: Any = typer.main.get_command(app)
    assert len(group.commands) >= 19
    for name in group.commands:
        assert name in result.output
        assert runner.invoke(app, [name, "--help"]).exit_code == 0


def test_inspect_shows_what_a_file_is(adapter_file: Path) -> None:
    """`adakron inspect` prints parameters, task, backbone and digest."""
    result = runner.invoke(app, ["inspect", str(adapter_file)])
    assert "[SEP], [MASK] etc. in a text are special tokens" in result.output
    assert result.exit_code == 0
    for part in ("12 = p 3 x q 4", "single_label", "negative, positive", "tiny", "in adapters", "temperature 1\n"):
        assert part in result.output, part


def test_inspect_shows_gates(tmp_path: Path) -> None:
    """`adakron inspect` prints field, keys and experts of a gated file, and a dash for a plain one."""
    path = tmp_path / "gated.safetensors"
    path.write_bytes(make_gated_bytes())
    assert "gates       3 keys by user, 4 experts\n" in runner.invoke(app, ["inspect", str(path)]).output
    path.write_bytes(make_adapter_bytes())
    assert "gates       -\n" in runner.invoke(app, ["inspect", str(path)]).output


def test_inspect_keeps_the_digest_on_one_line(adapter_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow terminal does not wrap the digest, which users copy."""
    monkeypatch.setattr(console, "width", 40)
    result = runner.invoke(app, ["inspect", str(adapter_file)])
    assert hashlib.sha256(adapter_file.read_bytes()).hexdigest() in result.output


def test_inspect_shows_no_control_characters(tmp_path: Path) -> None:
    """Control characters in the name of a backbone are escaped."""
    path = tmp_path / "a.safetensors"
    identity = tiny_identity().model_copy(update={"name": "\x1b[2Jtiny\rother"})
    path.write_bytes(make_adapter_bytes(identity=identity))
    output = runner.invoke(app, ["inspect", str(path)]).output
    assert r"\x1b[2Jtiny\rother" in output
    assert "\x1b" not in output


def test_inspect_refuses_other_files(tmp_path: Path) -> None:
    """For a file that is not an adapter, inspect prints one line with the reason and exits with 2."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nothing of the kind")
    result = runner.invoke(app, ["inspect", str(path)])
    assert result.exit_code == 2
    assert "container_header_length" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["tasks", "--url", CLOSED],
        ["predict", "sst2", "a text", "--url", CLOSED],
        ["rollback", "sst2", "--url", CLOSED],
        ["activate", "sst2", "1", "--url", CLOSED],
        ["versions", "sst2", "--url", CLOSED],
        ["alias", "sst2", "canary", "1", "--url", CLOSED],
        ["delete", "sst2", "1", "--yes", "--url", CLOSED],
        ["download", "sst2", "1", "--url", CLOSED],
        ["audit", "--url", CLOSED],
    ],
)
def test_no_server(arguments: list[str]) -> None:
    """If no server answers, each command prints one line and exits with 2."""
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert f"no answer from {CLOSED}" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("url", "sent"), [("http://127.0.0.1:9", "secret"), ("http://localhost:9", "secret"), ("http://example.org", None)]
)
def test_key_file_is_for_the_local_server(
    url: str, sent: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generated key is sent to a server on this machine, and never to another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin.key").write_text("secret\n")
    keys: list[str | None] = []

    def remember(url: str, key: str | None = None, **_: object) -> None:
        keys.append(key)
        raise RuntimeError("enough")

    monkeypatch.setattr("service.commands.options.AdaKronClient", remember)
    runner.invoke(app, ["rollback", "sst2", "--url", url])
    assert keys == [sent]


@pytest.mark.parametrize("broken", ["not ours", "no text", "a folder"])
def test_an_unreadable_key_file(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command continues without a key, because many calls need none."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data" / "admin.key"
    path.parent.mkdir()
    if broken == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"\xff" * 20)
    if broken == "not ours":

        def refuse(self: Path, *_: object) -> str:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "read_text", refuse)
    result = runner.invoke(app, ["tasks", "--url", CLOSED])
    assert result.exit_code == 2
    assert result.output.startswith(f"error: no answer from {CLOSED}")


def test_markup_is_shown_literally(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label, a metric or the name of a key may look like markup."""
    task = Task("t", 1, "0" * 64, "single_label", ("[/INST]", "[b]"), False, 128, "right", 1.0, None, {"[/m]": 0.5})
    key = ApiKey("k1", "[/x] [red]", ("predict",), (), "2026", None)
    monkeypatch.setattr("service.client.AdaKronClient.tasks", lambda _: (task,))
    monkeypatch.setattr("service.client.Admin.keys", lambda _: (key,))
    listed = runner.invoke(app, ["tasks"])
    assert listed.exit_code == 0, listed.output
    assert "[/INST], [b]" in listed.output
    assert "[/m] 0.500" in listed.output
    listed = runner.invoke(app, ["keys", "list"])
    assert listed.exit_code == 0, listed.output
    assert "[/x] [red]" in listed.output


HOSTILE = "a\x1b[31m\r\u202eb\nc :bug: [/red]"  # colours, goes back, turns text round, breaks the line
SHOWN = r"a\x1b[31m\r\u202eb\nc :bug: [/red]"


def test_no_name_steers_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control characters from a server or a file are escaped, so each item stays on its line."""
    at = "2026-11-28T06:26:10Z"
    changes = Changes(2, False, (HOSTILE,), (), None, None, (), (), False, None, None)
    spec: Any = {"type": "regression", "labels": (HOSTILE,), "pair": False, "max_length": 9, "truncation": "right"}
    spec |= {"temperature": 1.0, "context": None, "metrics": {HOSTILE: 0.5}, "version": 1, "digest": "0" * 64}
    version = Version("t", **spec, created_at=at, num_parameters=9, num_bytes=9, quarantined=False, changes=changes)
    answers: dict[str, Any] = {
        "AdaKronClient.tasks": (Task(HOSTILE, **spec),),
        "Admin.task": TaskVersions("t", (version,), {HOSTILE: 1}, 1.0, None),
        "Admin.audit": (AuditEntry(1, at, HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE, HOSTILE, HOSTILE),),
        "Admin.keys": (ApiKey("k", HOSTILE, (HOSTILE,), (), "2026", None),),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(f"service.client.{name}", lambda *_, answer=answer, **__: answer)
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(make_adapter_bytes(identity=tiny_identity().model_copy(update={"name": HOSTILE})))
    for command in (["tasks"], ["versions", "t"], ["audit"], ["keys", "list"], ["inspect", str(path)]):
        result = runner.invoke(app, command)
        assert result.exit_code == 0, result.output
        assert SHOWN in result.output, command
        assert not set(HOSTILE) & set(result.output) & set("\x1b\r\u202e"), command
        if command[0] != "inspect":
            assert result.output.count("\n") == 2


def test_push_needs_a_file(tmp_path: Path) -> None:
    """push refuses a missing file before it sends a request."""
    result = runner.invoke(app, ["push", "sst2", str(tmp_path / "none.safetensors"), "--url", CLOSED])
    assert result.exit_code == 2
    assert "does not exist" in result.output


def test_pairs_come_in_twos() -> None:
    """`predict --pair` refuses an odd number of texts, and a line that does not have exactly one tab."""
    result = runner.invoke(app, ["predict", "rte", "one", "two", "three", "--pair", "--url", CLOSED])
    assert result.exit_code == 2
    assert "even number" in result.output
    for lines in ("one\ttwo\tthree\nfour\n", "one\ntwo\n"):
        result = runner.invoke(app, ["predict", "rte", "--pair", "--url", CLOSED], input=lines)
        assert result.exit_code == 2
        assert "one tab between them" in result.output


@pytest.mark.parametrize(("option", "value", "says"), [("--port", "99999", "port"), ("--device", "warp", "device")])
def test_serve_checks_its_settings(option: str, value: str, says: str) -> None:
    """An invalid setting is one line that names it, and the server does not start."""
    result = runner.invoke(app, ["serve", option, value])
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


def test_serve_names_a_missing_backbone(tmp_path: Path) -> None:
    """A missing backbone is one line, and no port is opened."""
    result = runner.invoke(app, ["serve", "--backbone", str(tmp_path / "none"), "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "is no folder" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("url", "says"),
    [("postgresql+psycopg://nobody@127.0.0.1:9/none", "cannot be used"), ("nonsense", "URL cannot be read")],
)
def test_serve_names_an_unreachable_registry(
    url: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that cannot be opened is one line before the backbone is loaded."""
    monkeypatch.setenv("ADAKRON_REGISTRY_URL", url)
    result = runner.invoke(app, ["serve", "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


def test_inspect_shows_the_training(tmp_path: Path) -> None:
    """inspect prints the training record of a file as JSON."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(make_adapter_bytes())
    output = runner.invoke(app, ["inspect", str(path)]).output
    assert json.loads(output.split("training")[1]) == {}
