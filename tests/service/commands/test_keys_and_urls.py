"""The key, URL and names that a command sends to a server: missing, malformed, refused or hostile."""

from pathlib import Path

import pytest

from tests.support.command_line import done, refused
from tests.support.serving import KEY

pytestmark = pytest.mark.usefixtures("here")


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
        (["--url", "127.0.0.1:9"], "is not the URL of a server, such as http:"),
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
