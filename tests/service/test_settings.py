"""Settings from the environment, from files and from the command line, and how wrong ones are refused."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.commands.app import app
from service.errors import InvalidInput
from service.settings import Settings, load_settings, read_settings
from service.settings.environment import OTHER_VARIABLES
from tests.support.paths import ROOT

KEY = "sixteen-or-more-characters"
TEXTS = {"cors_origins": "https://a.example", "root_path": "/prefix"}  # values of settings whose default is empty
LINKS = {  # what Kubernetes sets for a Service `adakron` with two ports, and for others whose names begin like it
    "ADAKRON_SERVICE_HOST": "10.1.2.3",
    "ADAKRON_SERVICE_PORT": "8000",
    "ADAKRON_SERVICE_PORT_HTTP": "8000",
    "ADAKRON_PORT": "tcp://10.1.2.3:8000",
    "ADAKRON_PORT_8000_TCP": "tcp://10.1.2.3:8000",
    "ADAKRON_PORT_8000_TCP_PROTO": "tcp",
    "ADAKRON_PORT_8000_TCP_PORT": "8000",
    "ADAKRON_PORT_8000_TCP_ADDR": "10.1.2.3",
    "ADAKRON_PORT_53_UDP_ADDR": "10.1.2.3",
    "ADAKRON_ADMIN_PORT": "tcp://10.1.2.4:9000",
    "ADAKRON_ADMIN_SERVICE_HOST": "10.1.2.4",
    "ADAKRON_POSTGRES_PORT": "TCP://[fd00::1]:5432",
    "ADAKRON_MAX_UPLOADS_SERVICE_PORT_HTTP": "1",
}


def refusal(environ: dict[str, str], **given: object) -> str:
    with pytest.raises(InvalidInput) as caught:
        load_settings(given, environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_kubernetes_sets_for_services_is_ignored() -> None:
    """Service links neither set a setting nor count as misspelt; one warning names them all."""
    reading = read_settings({}, LINKS | {"ADAKRON_MAX_INPUTS": "7"})
    assert reading.problems == ()
    assert reading.settings == Settings(max_inputs=7)
    (warning,) = reading.warnings()
    assert all(name in warning for name in LINKS)
    assert list(read_settings({}, {"ADAKRON_PORT": "9000"}).warnings()) == []


def test_options_come_before_variables() -> None:
    """The command line wins, an empty variable counts as not set, and the rest are the defaults."""
    environ = {"ADAKRON_PORT": "9000", "ADAKRON_HOST": "0.0.0.0", "ADAKRON_ADMIN_KEY": "", "ADAKRON_ADMIN_PORT": " \n"}
    assert load_settings({"port": 9001}, environ) == Settings(port=9001, host="0.0.0.0")


@pytest.mark.parametrize("value", [f"{KEY}\n", f" {KEY}\r\n", f"{KEY}\t"])
def test_white_space_around_a_value_is_dropped(value: str) -> None:
    """Secrets end in a newline as often as not; keys, URLs and numbers are read without it."""
    url = "postgresql+psycopg://u@h/d"
    given = {"ADAKRON_ADMIN_KEY": value, "ADAKRON_REGISTRY_URL": f"{url}\n", "ADAKRON_PORT": "9000\n"}
    settings = load_settings({}, given)
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == KEY
    assert (settings.registry_url, settings.port) == (url, 9000)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("two words of a key", "white space inside"),
        ("first-of-two-keys\nsecond-of-two-keys", "line break"),
        ("short", "at least 16 characters, this one has 5"),
        ("schlüssel-mit-umlauten", "printable ASCII"),
        ("no-break\u00a0space-in-a-key", "white space inside"),
    ],
)
def test_a_key_that_cannot_be_one(key: str, says: str) -> None:
    """It is refused in one line that names the variable and does not show the key."""
    told = refusal({"ADAKRON_ADMIN_KEY": key})
    assert told.startswith("ADAKRON_ADMIN_KEY: ")
    assert says in told
    assert key not in told


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_can_come_from_a_file(name: str, tmp_path: Path) -> None:
    """ADAKRON_X_FILE is the setting x, stripped; a file that cannot be read or is empty is named."""
    field, variable, file = Settings.model_fields[name], f"ADAKRON_{name.upper()}_FILE", tmp_path / "value"
    value = {"admin_key": KEY, "registry_url": "sqlite:///x", "admin_port": "1", **TEXTS}.get(name) or str(
        field.get_default()
    )
    file.write_text(f"\ufeff{value}\r\n", encoding="utf-8")
    assert load_settings({}, {variable: str(file)}) == load_settings({}, {f"ADAKRON_{name.upper()}": value})
    assert (
        refusal({variable: str(tmp_path / "none")})
        == f"{variable}: {tmp_path}/none cannot be read: No such file or directory"
    )
    file.write_text(" \n")
    assert refusal({variable: str(file)}) == f"{variable}: {file} is empty"


def test_files_that_are_no_values(tmp_path: Path) -> None:
    """A folder, a binary file and a huge one are each one line; a variable beside its file is refused."""
    assert "Is a directory" in refusal({"ADAKRON_ADMIN_KEY_FILE": str(tmp_path)})
    assert "ADAKRON_PORT_FILE: /dev/zero has more than 64 KiB" in refusal({"ADAKRON_PORT_FILE": "/dev/zero"})
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in refusal({"ADAKRON_PORT_FILE": str(path)})
    path.write_text("9000")
    both = {"ADAKRON_PORT_FILE": str(path), "ADAKRON_PORT": "8000"}
    assert refusal(both) == "ADAKRON_PORT_FILE: ADAKRON_PORT is also set: remove one of the two"
    assert load_settings({}, both | {"ADAKRON_PORT": ""}).port == 9000


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("ADAKRON_TARGET_BATCHS", "ADAKRON_TARGET_BATCH_S"),
        ("ADAKRON_DATADIR", "ADAKRON_DATA_DIR"),
        ("ADAKRONPORT", "ADAKRON_PORT"),
        ("adakron_port", "ADAKRON_PORT"),
        ("ADAKRON_ADMIN_KY_FILE", "ADAKRON_ADMIN_KEY_FILE"),
        ("ADAKRON_URLS", "ADAKRON_URL"),
        ("ADAKRON_XYZZY", None),
    ],
)
def test_misspelt_variables_are_refused(variable: str, near: str | None) -> None:
    """A variable that is not a setting but looks like one is named with the nearest real one."""
    told = refusal({variable: "1"})
    assert told.startswith(f"{variable}: no setting has this name")
    assert (f"did you mean {near}?" if near else "remove it") in told


def test_problems_are_named_as_the_operator_wrote_them(tmp_path: Path) -> None:
    """The error of a wrong value names its variable, file or option, and the value unless it may be secret."""
    assert (
        refusal({"ADAKRON_TARGET_BATCH_S": "-1"})
        == "ADAKRON_TARGET_BATCH_S: Input should be greater than 0 (it is '-1')"
    )
    assert refusal({}, port="many").startswith("--port: Input should be a valid integer")
    assert refusal({}, admin_port="x").startswith("--admin-port: ")
    (tmp_path / "port").write_text("x")
    assert refusal({"ADAKRON_PORT_FILE": str(tmp_path / "port")}).startswith("ADAKRON_PORT_FILE: Input should be")
    reading = read_settings({"port": "x"}, {"ADAKRON_DTYPE": "int4", "ADAKRON_PROT": "1"})
    assert [problem.place for problem in reading.problems] == ["ADAKRON_PROT", "--port", "ADAKRON_DTYPE"]
    assert reading.settings == Settings()


@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize(
    "command",
    [
        ["serve"],
        ["backup", "f"],
        ["restore", "f"],
        ["pull", "you/t"],
        ["train", "--task", "t", "--train", "f"],
        ["doctor", "--json"],
    ],
)
def test_every_command_that_reads_settings_refuses(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the variable; nothing is done before."""
    monkeypatch.setenv("ADAKRON_BACKBON", "bert")
    done = CliRunner(env={"COLUMNS": "300", "TERM": "dumb"}).invoke(app, command)
    assert done.exit_code == (1 if command[0] == "doctor" else 2), done.output
    assert "ADAKRON_BACKBON: no setting has this name; did you mean ADAKRON_BACKBONE?" in done.output
    assert "Traceback" not in done.output


def test_every_variable_of_the_sources_is_known() -> None:
    """Each ADAKRON_* that programs and tests read is a setting, its file, or in OTHER_VARIABLES."""
    known = {f"ADAKRON_{name.upper()}{end}" for name in Settings.model_fields for end in ("", "_FILE")}
    folders = ("service", "adapters", "benchmarks", "docker")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yml", "")]
    for path in [
        *files,
        ROOT / "docker-compose.yml",
        ROOT / "tests/conftest.py",
        ROOT / "tests/service/console/browser.py",
    ]:
        if path.is_file() and path.name != "environment.py":
            found = set(re.findall(r"\bADAKRON_[A-Z0-9_]*[A-Z0-9]", path.read_text("utf-8", errors="ignore")))
            assert found - {"ADAKRON_X_FILE", "ADAKRON_X"} <= known | set(OTHER_VARIABLES), path


@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize("variable", ["ADAKRON_KEY_FILE", "ADAKRON_ADMIN_KEY_FILE"])
def test_the_command_line_reads_its_key_from_a_file(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings are read as by the server; a key with white space inside is refused before anything is sent."""
    keys: list[object] = []
    monkeypatch.setattr("httpx.Client", lambda **options: keys.append(options["headers"]) or 1 / 0)
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    monkeypatch.setenv(variable, str(path))
    CliRunner().invoke(app, ["tasks", "--url", "http://127.0.0.1:9"])
    assert keys == [{"Authorization": f"Bearer {KEY}"}]
    done = CliRunner().invoke(app, ["tasks", "--url", "http://127.0.0.1:9", "--key", "two words of a key"])
    assert (done.exit_code, len(keys)) == (2, 1)
    assert "contains white space" in done.output
    path.unlink()
    done = CliRunner().invoke(app, ["tasks", "--url", "http://127.0.0.1:9"])
    assert (done.exit_code, len(keys)) == (2, 1)
    assert f"{variable}: {path} cannot be read" in done.output


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.endswith("_s")])
@pytest.mark.parametrize("value", ["inf", "1e300", "nan", "-1"])
def test_times_that_no_clock_can_wait(name: str, value: str) -> None:
    """A time has an end: without one a start failed with a traceback."""
    variable = f"ADAKRON_{name.upper()}"
    assert refusal({variable: value}).startswith(f"{variable}: Input should be ")


def test_threads_that_no_system_can_start() -> None:
    """A number of threads that would end the engine at the first request is refused at the start."""
    assert refusal({"ADAKRON_ENGINE_THREADS": "100000"}).startswith("ADAKRON_ENGINE_THREADS: ")


def test_a_long_wrong_value_is_cut() -> None:
    """The message stays readable, however long the value is."""
    assert len(refusal({"ADAKRON_PORT": "9" * 5000})) < 250
