"""`adakron doctor` as a whole: it makes every check, changes nothing, and names remedies."""

import json
import time
from pathlib import Path
from pkgutil import resolve_name

import pytest
from click.testing import Result
from typer.testing import CliRunner

from adapters.backbone.source import LoadedBackbone
from service.commands.app import app
from service.doctor.checks import CHECKS, run_checks
from service.doctor.core import Finding, Setup, combine, failed, ok, warning
from service.errors import RegistryUnavailable
from service.publishing.checks import check_upload
from service.settings import read_settings
from tests.support.doctors import make_setup
from tests.support.factories import make_adapter_bytes

pytestmark = pytest.mark.usefixtures("clean_environment")
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there


def doctor(*arguments: object, **environment: str) -> Result:
    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"} | environment)
    return runner.invoke(app, ["doctor", *(str(argument) for argument in arguments)])


def everything_in(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time and content of each file."""
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (folder, *folder.rglob("*"))
    }


def test_a_machine_before_the_first_start(tmp_path: Path, tiny_folder: Path) -> None:
    """If nothing is wrong, the exit code is 0, each check has its line, and no folder is created."""
    data = tmp_path / "data"
    result = doctor("--backbone", tiny_folder, "--data-dir", data, "--port", 0)
    lines = result.output.splitlines()
    assert result.exit_code == 0, result.output
    assert [line.split()[1] for line in lines[:-1]] == list(CHECKS)
    assert {line.split()[0] for line in lines[:-1]} <= {"ok", "warning"}
    assert lines[-1].startswith(f"{len(CHECKS)} checks: 0 failed, ")
    assert "\x1b" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_has_run(tmp_path: Path, tiny: LoadedBackbone, tiny_folder: Path) -> None:
    """The data folder is read and not changed: no byte, no time, no new file."""
    from service.auth.keys import load_admin_key
    from service.registry import Registry

    settings = make_setup(tmp_path).settings
    load_admin_key(settings)
    registry = Registry.open(settings.resolved_registry_url)
    registry.publish("sst2", check_upload(make_adapter_bytes(identity=tiny.identity)))
    registry.close()
    before = everything_in(tmp_path)
    result = doctor("--backbone", tiny_folder, "--data-dir", settings.data_dir, "--port", 0, "--json")
    found = {entry["check"]: entry for entry in json.loads(result.stdout)["checks"]}
    assert found["versions"]["message"] == "1 versions"
    assert "revision 0003" in found["registry"]["message"]
    assert everything_in(tmp_path) == before


def test_many_faults_at_once(tmp_path: Path) -> None:
    """Wrong settings, no backbone, no registry, no server: each has a finding with a remedy, and all checks run."""
    result = doctor(
        "--json",
        ADAKRON_PORT="x",
        ADAKRON_DATADIR="elsewhere",
        ADAKRON_DATA_DIR=str(tmp_path),
        ADAKRON_BACKBONE=str(tmp_path),
        ADAKRON_REGISTRY_URL="postgresql+psycopg://u:secret@127.0.0.1:9/none",
        ADAKRON_URL=CLOSED,
    )
    assert result.exit_code == 1
    assert "secret" not in result.output
    answer = json.loads(result.stdout)
    found = {entry["check"]: entry for entry in answer["checks"]}
    assert list(found) == list(CHECKS)
    assert {name for name, entry in found.items() if entry["status"] == "failed"} >= {
        "settings",
        "backbone",
        "registry",
        "server",
    }
    assert found["versions"]["message"] == "not checked: the registry cannot be read"
    assert found["disk"]["status"] == "ok"
    assert all(entry["remedy"] for entry in found.values() if entry["status"] != "ok")
    assert answer["failed"] == sum(entry["status"] == "failed" for entry in found.values())


def test_every_check_has_a_docstring() -> None:
    """Each function of the table exists and has a docstring."""
    for name, place in CHECKS.items():
        assert resolve_name(place).__doc__, name


def breaks(setup: Setup) -> Finding:
    raise ValueError("first line\nsecond")


def cannot_read(setup: Setup) -> Finding:
    raise RegistryUnavailable("gone")


def hangs(setup: Setup) -> Finding:
    time.sleep(1)
    return ok("too late")


def fine(setup: Setup) -> Finding:
    return ok("fine")


def test_no_check_hides_another(tmp_path: Path) -> None:
    """A check that raises, cannot be imported or hangs becomes a finding, and the next check runs."""
    names = ("breaks", "cannot_read", "hangs", "fine")
    table = {name: f"{__name__}:{name}" for name in names} | {"missing": "tests.no_such_module:check"}
    found = dict(run_checks(make_setup(tmp_path), table, timeout_s=0.2))
    assert {name: finding.status for name, finding in found.items()} == {
        "breaks": "failed",
        "cannot_read": "warning",
        "hangs": "failed",
        "fine": "ok",
        "missing": "failed",
    }
    assert found["breaks"].message == "cannot be checked: ValueError: first line"
    assert found["hangs"].message == "no answer within 0.2 s"
    assert "ModuleNotFoundError" in found["missing"].message


def test_findings_together() -> None:
    """Combined findings have the worst status, worst first, and each remedy once."""
    assert combine([ok("a"), warning("b", "do"), failed("c", "do")]) == failed("c; b; a", "do")


def test_wrong_settings_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting is reported by its name and has its default; the others are kept."""
    monkeypatch.setenv("ADAKRON_PORT", "x")
    monkeypatch.setenv("ADAKRON_MAX_INPUTS", "7")
    reading = read_settings({"device": "warp"})
    settings = reading.settings
    assert {problem.place for problem in reading.problems} == {"ADAKRON_PORT", "--device"}
    assert (settings.port, settings.device, settings.max_inputs) == (8000, "auto", 7)
