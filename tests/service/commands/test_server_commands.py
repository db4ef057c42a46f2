"""The commands for versions, aliases, downloads and the audit, with a server in the test's process."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.command_line import done, refused, run
from tests.support.factories import make_adapter_bytes, make_gated_bytes

pytestmark = pytest.mark.usefixtures("here")
NUM_LABELS = 200


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
    assert "give a version" in refused("alias", "aliased", "canary")
    assert "give a version" in refused("alias", "aliased", "canary", 1, "--delete")
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


def test_a_context(here: Path, tiny: LoadedBackbone) -> None:
    """`predict --context` names the key of a task with gates; a line on stderr tells of a key without a gate."""
    (here / "gated").write_bytes(make_gated_bytes(identity=tiny.identity, keys=["u1", "u=2"]))
    done("push", "by-user", here / "gated")
    assert "texts, user" in done("tasks")
    own = [run("predict", "by-user", "a text", "--context", f"user={key}") for key in ("u1", "u=2")]
    assert [(result.exit_code, result.stderr) for result in own] == [(0, "")] * 2
    assert own[0].stdout != own[1].stdout
    stranger = run("predict", "by-user", "a text", "--context", "user=u3")
    assert (stranger.exit_code, stranger.stdout) == (0, done("predict", "by-user", "a text"))
    assert stranger.stderr == "warning: by-user has no gate for this key: the mean gate has answered\n"
    assert "'user'" in refused("predict", "by-user", "a text", "--context", "usr=u1")
    for broken in ("u1", "user=", "=u1"):
        assert "such as user=u17" in refused("predict", "by-user", "a text", "--context", broken)
