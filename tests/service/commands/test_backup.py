"""`adakron backup` and `adakron restore` as an operator runs them."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.commands.app import app
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.backups import contents, fill
from tests.support.databases import execute
from tests.support.factories import make_adapter_bytes

pytestmark = pytest.mark.usefixtures("clean_environment")
runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, in which the settings put the data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADAKRON_REGISTRY_POLL_S", "0.01")
    return tmp_path


@pytest.fixture
def url(folder: Path) -> str:
    """The registry of the settings, filled with tasks, versions, aliases and keys."""
    (folder / "data").mkdir()
    url = f"sqlite:///{folder / 'data' / 'registry.sqlite3'}"
    fill(url)
    return url


def call(*arguments: str, answer: str | None = None) -> Result:
    return runner.invoke(app, arguments, input=answer)


def refusal(*arguments: str) -> str:
    """Run a command that fails with exit code 2, and return its one line."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.output.count("\n") == 1
    return result.output


def test_backup_and_restore_work_on_the_registry_of_the_settings(url: str) -> None:
    """Each command prints one line with counts, size and time."""
    result = call("backup", "copy.sqlite3")
    assert result.exit_code == 0
    size = f"{Path('copy.sqlite3').stat().st_size:,}"
    assert result.output.startswith(f"copy.sqlite3: 3 tasks, 6 versions, {size} bytes, in 0.")
    assert result.output.count("\n") == 1
    before = contents(url)
    with closing(Registry.open(url)) as registry:
        registry.delete_version("rte", 1)
    result = call("restore", "copy.sqlite3", "--yes")
    assert result.exit_code == 0
    assert result.output.startswith(f"copy.sqlite3: restored 3 tasks, 6 versions, {size} bytes, in ")
    assert contents(url)["versions"] == before["versions"]


def test_another_registry_may_be_named(url: str, folder: Path) -> None:
    """`--registry` overrides the settings; restore creates a missing registry."""
    other = f"sqlite:///{folder / 'other' / 'registry.sqlite3'}"
    assert call("backup", "copy.sqlite3", "--registry", url).exit_code == 0
    assert call("restore", "copy.sqlite3", "--registry", other, "--yes").exit_code == 0
    assert contents(other)["versions"] == contents(url)["versions"]


def test_force_replaces_a_file(url: str) -> None:
    """The error about an existing file names --force, which replaces the file."""
    assert call("backup", "copy.sqlite3").exit_code == 0
    assert "replace it with --force" in refusal("backup", "copy.sqlite3")
    assert call("backup", "copy.sqlite3", "--force").exit_code == 0


def test_damage_has_an_exit_code_of_its_own(url: str) -> None:
    """backup and restore copy damaged adapters, name them and exit with code 3."""
    execute(url, "UPDATE blobs SET data = x'00' WHERE digest = (SELECT digest FROM versions WHERE task = 'mnli')")
    for arguments in (["backup"], ["restore", "--yes", "--registry", "sqlite:///other.sqlite3"]):
        result = call(*arguments, "copy.sqlite3")
        assert result.exit_code == 3
        assert "in quarantine until their files are published again: mnli@1" in result.output
        assert result.output.count("\n") == 2


@pytest.mark.parametrize(("answer", "exit_code"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_restore_asks(answer: str, exit_code: int, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal restore shows both registries, and changes nothing unless the answer is yes."""
    call("backup", "copy.sqlite3")
    with closing(Registry.open(url)) as registry:
        registry.publish("new", check_upload(make_adapter_bytes(seed=20)))
    before = contents(url)
    monkeypatch.setattr("service.commands.terminal.is_terminal", lambda: True)
    result = call("restore", "copy.sqlite3", answer=answer)
    assert result.exit_code == exit_code
    assert "The registry has 4 tasks, 7 versions; 1 of these are not in the backup and will be lost." in result.output
    assert "The backup has 3 tasks, 6 versions; it was last changed 20" in result.output
    assert (contents(url) == before) == (exit_code == 2)


def test_restore_asks_before_it_makes_a_registry(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no registry yet, the answer no creates none."""
    call("backup", "copy.sqlite3")
    monkeypatch.setattr("service.commands.terminal.is_terminal", lambda: True)
    result = call("restore", "copy.sqlite3", "--registry", f"sqlite:///{folder / 'none' / 'x.sqlite3'}", answer="n\n")
    assert "The registry has 0 tasks, 0 versions" in result.output
    assert not (folder / "none").exists()


def test_restore_without_a_terminal_needs_yes(url: str) -> None:
    """Without a terminal restore asks for --yes before it reads the file."""
    assert "--yes" in refusal("restore", "none.sqlite3")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["backup", "none/copy.sqlite3"], "No such file or directory"),
        (["backup", "data"], "is a folder"),
        (["backup", "data/registry.sqlite3", "--force"], "is the registry itself"),
        (["backup", "x", "--registry", "sqlite:///none.sqlite3"], "there is no registry at none.sqlite3"),
        (["backup", "x", "--registry", "postgresql://nobody@127.0.0.1:1/none"], "cannot be used"),
        (["backup", "x", "--registry", "[nonsense]"], "URL cannot be read"),
        (["restore", "--yes", "none.sqlite3"], "No such file or directory"),
        (["restore", "--yes", "data"], "is not a file"),
        (["restore", "--yes", "[x].txt"], "[x].txt is not an SQLite file"),
        (["restore", "--yes", "data/registry.sqlite3"], "is the registry itself"),
    ],
)
@pytest.mark.usefixtures("url")
def test_every_failure_is_one_line(arguments: list[str], says: str, folder: Path) -> None:
    """Every failure is one line with exit code 2."""
    (folder / "[x].txt").write_text("a text")
    assert says in refusal(*arguments)


@pytest.mark.usefixtures("folder")
def test_invalid_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid setting is one line that names its variable."""
    monkeypatch.setenv("ADAKRON_PORT", "many")
    for command in ("backup", "restore"):
        assert "ADAKRON_PORT: " in refusal(command, "copy.sqlite3")


def test_help_is_quick() -> None:
    """Importing the commands imports neither the database library nor torch."""
    program = "import sys, service.commands.app; print({'torch', 'sqlalchemy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
