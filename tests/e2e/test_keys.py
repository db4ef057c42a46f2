"""`adakron keys` against a running server."""

import json

from tests.support.processes import Server


def test_a_key_is_made_used_and_revoked(server: Server) -> None:
    """create prints the key alone, list shows it without its secret, revoke ends it."""
    made = server.adakron("keys", "create", "nightly build", "--scope", "upload", "--task", "sst2")
    key = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    listed = json.loads(server.adakron("keys", "list", "--json").stdout)
    mine = next(item for item in listed if item["id"] in key)
    assert (mine["name"], mine["scopes"], mine["tasks"]) == ("nightly build", ["upload"], ["sst2"])
    assert server.adakron("rollback", "cola", "--key", key).stderr.startswith("error: 403")
    table = server.adakron("keys", "list").stdout
    assert "nightly build" in table
    assert key not in table
    revoked = server.adakron("keys", "revoke", mine["id"])
    assert "is revoked" in revoked.stdout
    assert "key_revoked" in server.adakron("keys", "list", "--key", key).stderr


def test_what_is_wrong_is_said_in_one_line(server: Server) -> None:
    """An unknown scope, an unknown id, and no scope at all: one line or a usage message, exit code 2."""
    for arguments in (("create", "x", "--scope", "root"), ("revoke", "0123456789ab"), ("create", "x")):
        result = server.adakron("keys", *arguments)
        assert result.returncode == 2, arguments
        assert "Traceback" not in result.stderr
