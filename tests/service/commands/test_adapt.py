"""`adakron adapt` against a server: pulls the live version, and publishes one with the fitted gate."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.gates import GatedAdapter
from service.client import AdaKronClient
from service.commands.app import app
from tests.support.factories import make_adapter_bytes, make_gated_bytes
from tests.support.serving import KEY, listening

pytestmark = pytest.mark.usefixtures("clean_environment", "one_thread")


@pytest.fixture
def url(tiny: LoadedBackbone, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with a gated task, `mood`, and a plain one, `plain`."""
    monkeypatch.setenv("ADAKRON_BACKBONE", str(tiny_folder))
    with listening(tiny, tmp_path) as server:
        address = f"http://127.0.0.1:{server.port}"
        with AdaKronClient(address, KEY) as client:
            client.admin.upload("mood", make_gated_bytes(identity=tiny.identity))
            client.admin.upload("plain", make_adapter_bytes(identity=tiny.identity))
        yield address


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "good film,positive\ndull plot,negative\n" * 4)
    return path


def adakron(*arguments: object) -> Result:
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return runner.invoke(app, [str(item) for item in arguments])


@pytest.mark.parametrize("key", [("--user", "carla"), ("--context", "user=carla")])
def test_a_new_version_has_the_gate(url: str, rows: Path, key: tuple[str, str]) -> None:
    """The command publishes a live version in which the user has a gate, and says how much better it fits."""
    result = adakron("adapt", "mood", *key, "--train", rows, "--url", url, "--key", KEY)
    assert result.exit_code == 0, result.output
    assert "a new gate for this user, fitted on 8 rows: loss 0." in result.output
    assert "mood@2 is live" in result.output
    with AdaKronClient(url, KEY) as client:
        adapter = checkpoint.parse(client.admin.download("mood", 2))
    assert isinstance(adapter, GatedAdapter)
    assert adapter.gates.find(adapter.gates.config.digest("carla")) is not None
    assert len(adapter.gates.digests) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mood",), "give --user NAME, or --context FIELD=VALUE"),
        (("mood", "--user", "a", "--context", "user=a"), "give --user NAME, or --context"),
        (("mood", "--context", "carla"), "--context names a field and its value"),
        (("mood", "--context", "lang=de"), "the gates of the task are by user, not by lang"),
        (("mood", "--user", "k" * 10_240), "the user has 10240 bytes"),
        (("mood", "--user", ""), "the user has 0 bytes"),
        (("plain", "--user", "a"), "the task has no gates"),
        (("other", "--user", "a"), "other"),
    ],
)
def test_mistakes_publish_nothing(url: str, rows: Path, arguments: tuple[str, ...], message: str) -> None:
    """Each mistake is one line and exit code 2; no version is added."""
    result = adakron("adapt", *arguments, "--train", rows, "--url", url, "--key", KEY)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
    with AdaKronClient(url, KEY) as client:
        assert all(len(task.versions) == 1 for task in client.admin.tasks())


def test_a_version_that_became_live_meanwhile_is_kept(
    url: str, rows: Path, tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another version becomes live while the gate is fitted, nothing is published."""
    from service.train import adapt as adapting

    fit = adapting.fit_gate

    def fit_slowly(*arguments: object) -> object:
        with AdaKronClient(url, KEY) as client:
            client.admin.upload("mood", make_gated_bytes(identity=tiny.identity, seed=1))
        return fit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(adapting, "fit_gate", fit_slowly)
    result = adakron("adapt", "mood", "--user", "carla", "--train", rows, "--url", url, "--key", KEY)
    assert result.exit_code == 2
    assert "mood@1 is not live any more, so nothing was published" in result.output
    with AdaKronClient(url, KEY) as client:
        assert len(client.admin.task("mood").versions) == 2
