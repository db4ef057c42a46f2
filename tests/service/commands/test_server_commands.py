"""The commands for versions, aliases, keys and the audit, with a server in the test's process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from adapters.backbone.source import LoadedBackbone
from service.commands.app import app
from tests.support.factories import make_adapter_bytes
from tests.support.serving import KEY, Listening, listening

NUM_LABELS = 200


@pytest.fixture(scope="module")
def server(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tiny, tmp_path_factory.mktemp("server"), require_key=True) as server:
        yield server


@pytest.fixture(autouse=True)
def here(server: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and the environment variables that name the server and its key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADAKRON_ADMIN_KEY", raising=False)
    monkeypatch.delenv("ADAKRON_DATA_DIR", raising=False)
    monkeypatch.setenv("ADAKRON_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("ADAKRON_KEY", KEY)
    return tmp_path


@pytest.fixture
def files(tiny: LoadedBackbone, here: Path) -> dict[str, Path]:
    made = {
        "one": make_adapter_bytes(identity=tiny.identity, seed=1),
        "two": make_adapter_bytes(identity=tiny.identity, seed=2),
        "more": make_adapter_bytes(identity=tiny.identity, labels=("positive", "negative", "neutral")),
        "pairs": make_adapter_bytes(identity=tiny.identity, type="regression", labels=(), pair=True),
    }
    for name, data in made.items():
        (here / name).write_bytes(data)
    return {name: here / name for name in made}


def run(*arguments: object, columns: int = 200, **options: Any) -> Result:
    runner = CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"})
    return runner.invoke(app, [str(argument) for argument in arguments], **options)


def done(*arguments: object, **options: Any) -> str:
    """Run a command that succeeds, and return its output."""
    result = run(*arguments, **options)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object, **options: Any) -> str:
    """Run a command that exits with 2, and return its one line."""
    result = run(*arguments, **options)
    assert result.exit_code == 2, result.output
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1
    return result.output


def shown(task: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done("versions", task, "--json"))
    return found


def test_a_push_that_breaks_clients(files: dict[str, Path]) -> None:
    """The version is published but not live; the error names the command that makes it live, which works."""
    done("push", "stsb", files["pairs"])
    told = refused("push", "stsb", files["one"])
    for words in ("stsb@2 is published but not live", "version 1: type: regression -> single_label; inputs: pairs of"):
        assert words in told
    assert shown("stsb")["aliases"] == {"live": 1}
    assert "adakron activate stsb 2 --allow-incompatible" in told
    assert "would break the clients of version 1" in refused("activate", "stsb", 2)
    assert "live is version 2" in done("activate", "stsb", 2, "--allow-incompatible")
    assert "would break the clients of version 2" in refused("rollback", "stsb")
    assert "adakron rollback stsb --allow-incompatible makes version 1 live" in done("versions", "stsb")
    assert "note: stsb@1 differs from version 2: type" in done("rollback", "stsb", "--allow-incompatible")
    assert "stsb@2 is live" in done("push", "stsb", files["one"], "--allow-incompatible")
    assert "--allow-incompatible: for a server" in refused(
        "push", "t", files["one"], "--hub", "a/b", "--allow-incompatible"
    )


def test_a_push_with_further_labels(files: dict[str, Path]) -> None:
    """A push that only adds or reorders labels goes live and prints a note."""
    done("push", "more", files["one"])
    lines = done("push", "more", files["more"]).splitlines()
    assert lines[0].startswith("more@2 is live; digest ")
    assert lines[1] == "note: more@2 differs from version 1: labels added: 'neutral'; labels in another order"


def test_versions(files: dict[str, Path]) -> None:
    """Each version is one line, newest first, with aliases, the whole SHA-256 and its changes."""
    for name in ("one", "two", "more"):
        done("push", "listed", files[name])
    done("alias", "listed", "canary", 1)
    for columns in (60, 200):
        heads, *rows, last = done("versions", "listed", columns=columns).splitlines()
        assert heads.split()[:4] == ["VERSION", "PUBLISHED", "ALIASES", "BYTES"]
        assert [row.split()[0] for row in rows] == ["3", "2", "1"]
        for row, version in zip(rows, reversed(shown("listed")["versions"]), strict=True):
            assert version["digest"] in row
        assert last == "adakron rollback listed --allow-incompatible makes version 2 live"
    assert "canary" in rows[2]
    assert rows[2].endswith("labels removed: 'neutral'; labels in another order")
    assert "no task 'listde'; did you mean listed?" in refused("versions", "listde")


def test_alias(files: dict[str, Path]) -> None:
    """An alias is set and removed; its removal needs a confirmation or --yes."""
    done("push", "aliased", files["one"])
    assert "aliased: canary is version 1" in done("alias", "aliased", "canary", 1)
    assert "no version 9" in refused("alias", "aliased", "canary", 9)
    assert "give a VERSION" in refused("alias", "aliased", "canary")
    assert "give a VERSION" in refused("alias", "aliased", "canary", 1, "--delete")
    assert "--yes skips the question" in refused("alias", "aliased", "canary", "--delete")
    assert shown("aliased")["aliases"] == {"canary": 1, "live": 1}
    assert done("alias", "aliased", "canary", "--delete", "--yes") == "the alias canary of aliased is removed\n"
    assert "has no alias 'canary'" in refused("alias", "aliased", "canary", "--delete", "--yes")


@pytest.mark.parametrize(("answer", "left"), [("y\n", [1]), ("n\n", [1, 2])])
def test_delete_asks(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, answer: str, left: list[int]) -> None:
    """A deletion needs a confirmation or --yes; a version with an alias stays."""
    done("push", "deleted", files["one"])
    done("push", "deleted", files["two"], "--no-activate")
    number = shown("deleted")["versions"][-1]["version"]
    assert "--yes skips the question" in refused("delete", "deleted", number)
    monkeypatch.setattr("service.commands.terminal.is_terminal", lambda: True)
    result = run("delete", "deleted", number, input=answer)
    assert f"Delete deleted@{number} (SHA-256 " in result.output
    assert result.exit_code == (0 if answer == "y\n" else 2)
    assert len(shown("deleted")["versions"]) == len(left)
    assert "in use as live" in refused("delete", "deleted", 1, "--yes")
    if len(left) == 2:
        assert f"deleted@{number} is deleted; digest " in done("delete", "deleted", number, "--yes")


def test_download(files: dict[str, Path], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """download writes the pushed bytes; it replaces no file unasked and writes no damaged one."""
    done("push", "fetched", files["one"])
    data, digest = files["one"].read_bytes(), shown("fetched")["versions"][0]["digest"]
    assert done("download", "fetched", 1) == (
        f"fetched-1.safetensors: {len(data):,} bytes of fetched@1; digest {digest}\n"
    )
    assert (here / "fetched-1.safetensors").read_bytes() == data
    (here / "fetched-1.safetensors").write_text("mine")
    assert "fetched-1.safetensors exists: --force replaces it" in refused("download", "fetched", 1)
    assert (here / "fetched-1.safetensors").read_text() == "mine"
    done("download", "fetched", 1, "--force")
    done("download", "fetched", 1, "-o", "other")
    assert (here / "fetched-1.safetensors").read_bytes() == (here / "other").read_bytes() == data
    assert "none is not a folder" in refused("download", "fetched", 1, "-o", "none/x")
    assert "has no version 2" in refused("download", "fetched", 2, "-o", "missing")
    monkeypatch.setattr("httpx.Response.content", property(lambda _: data[:-1]))
    assert "arrived damaged" in refused("download", "fetched", 1, "-o", "missing")
    assert not (here / "missing").exists()


def test_audit(files: dict[str, Path]) -> None:
    """Each change is one line, newest first; a task and --limit restrict the list."""
    done("push", "audited", files["one"])
    done("alias", "audited", "canary", 1)
    heads, *rows = done("audit", "audited").splitlines()
    assert heads.split() == ["ID", "AT", "ACTOR", "ACTION", "TASK", "VERSION", "ALIAS", "SOURCE", "DETAIL"]
    assert [row.split()[3] for row in rows] == ["set_alias", "set_alias", "publish"]
    assert rows[2].split()[2:] == [
        "admin",
        "publish",
        "audited",
        "1",
        "-",
        "127.0.0.1",
        shown("audited")["versions"][0]["digest"],
    ]
    assert len(done("audit", "--limit", 2).splitlines()) == 3
    entries = json.loads(done("audit", "audited", "--json", "--limit", 1))
    assert [entry["alias"] for entry in entries] == ["canary"]
    assert run("audit", "--limit", 0).exit_code == 2


@pytest.mark.parametrize("columns", [40, 100, 10_000])
def test_tasks_one_a_line(here: Path, files: dict[str, Path], tiny: LoadedBackbone, columns: int) -> None:
    """A task with many labels stays on one line of any width; --json has all labels."""
    labels = [f"label {number}" for number in range(NUM_LABELS)]
    (here / "wide").write_bytes(make_adapter_bytes(identity=tiny.identity, labels=labels, seed=7))
    done("push", "wide", here / "wide")
    done("push", "a" * 63, files["one"])
    tasks = json.loads(done("tasks", "--json"))
    assert {len(task["labels"]) for task in tasks if task["task"] == "wide"} == {NUM_LABELS}
    heads, *rows = done("tasks", columns=columns).splitlines()
    assert heads.split() == ["TASK", "VERSION", "TAKES", "METRICS", "ANSWERS"]
    assert [row.split()[0] for row in rows] == [task["task"] for task in tasks]
    (wide,) = [row for row in rows if row.startswith("wide ")]
    assert wide.endswith("…" if columns < 10_000 else labels[-1])
    assert len({row.index("texts") for row in rows if " texts " in row}) == 1


@pytest.mark.parametrize(
    "command",
    [
        ["push", "t", "one"],
        ["activate", "t", "1"],
        ["rollback", "t"],
        ["weight", "t", "1"],
        ["versions", "t"],
        ["alias", "t", "canary", "1"],
        ["alias", "t", "canary", "--delete", "--yes"],
        ["delete", "t", "1", "--yes"],
        ["download", "t", "1"],
        ["audit"],
        ["tasks"],
        ["predict", "t", "a"],
        ["keys", "list"],
        ["keys", "create", "x", "--scope", "predict"],
        ["keys", "revoke", "0123456789ab"],
    ],
    ids=" ".join,
)
def test_a_command_without_a_key(
    command: list[str], files: dict[str, Path], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the places that hold no key, or the place of a key that the server refuses."""
    monkeypatch.delenv("ADAKRON_KEY")
    told = refused(*command)
    assert told.startswith("error: 401: this request needs a key")
    for words in (f"{here}/data/admin.key", "--key KEY", "ADAKRON_KEY", "ADAKRON_ADMIN_KEY", "No such file"):
        assert words in told
    (here / "key").write_text("a-key-of-a-secret\n")
    monkeypatch.setenv("ADAKRON_KEY_FILE", "key")
    assert "(key_unknown); the key comes from the file that ADAKRON_KEY_FILE names" in refused(*command)
    monkeypatch.delenv("ADAKRON_KEY_FILE")
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "admin.key").write_text("an-older-key-of-it\n")
    monkeypatch.setenv("ADAKRON_DATA_DIR", "elsewhere")
    assert f"(key_unknown); the key comes from {here}/elsewhere/admin.key: give another" in refused(*command)
    monkeypatch.setenv("ADAKRON_ADMIN_KEY", "another-wrong-key")
    assert "(key_unknown); the key comes from ADAKRON_ADMIN_KEY" in refused(*command)
    assert "(key_unknown); the key comes from --key" in refused(*command, "--key", "wrong-as-well")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--key", "two words"], "this key contains white space or characters"),
        (["--key", "schlüssel"], "this key contains white space or characters"),
        (["--url", "http://[::1"], "is not the URL of a server"),
        (["--url", "http://127.0.0.1:port"], "is not the URL of a server"),
        (["--url", "127.0.0.1:9"], "no answer from"),
    ],
)
def test_malformed_options(options: list[str], says: str) -> None:
    """A malformed key or URL is one line."""
    assert says in refused("versions", "t", *options)


def test_a_key_may_end_in_a_newline(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys from secrets end in a newline, which is ignored."""
    monkeypatch.setenv("ADAKRON_KEY", f"{KEY}\n")
    assert "sent@1 is live" in done("push", "sent", files["one"])


@pytest.mark.parametrize("name", ["../keys", "a/b", "?x", "t\x1b[31m", "\u202et"])
def test_hostile_names(name: str, here: Path) -> None:
    """A name with special characters reaches no other route, and is printed escaped."""
    for command in (["versions", name], ["delete", name, "1", "--yes"], ["rollback", name], ["alias", name, "x", "1"]):
        told = refused(*command)
        assert "404" in told or "405" in told
        assert "\x1b" not in told
        assert "\u202e" not in told
    assert "name" in refused("download", name, "1")
    assert list(here.iterdir()) == []
