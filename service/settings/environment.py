"""Environment variables `ADAKRON_*`: settings, variables that Kubernetes sets, and misspelt names.

ADAKRON_X sets the setting `x`; ADAKRON_X_FILE names a file that holds its value, as secrets of Docker and Kubernetes.
White space around a value is dropped, since such files end in a newline, and an empty value counts as not set.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from service.errors import InvalidInput

PREFIX = "ADAKRON_"
FILE = "_FILE"
MAX_FILE_BYTES = 64 * 1024
OTHER_VARIABLES = (  # variables that are not settings of a server
    "ADAKRON_URL",  # the server that the command line calls
    "ADAKRON_KEY",  # the key that the command line sends
    "ADAKRON_KEY_FILE",  # the file that holds it
    "ADAKRON_GLUE_DIR",  # data of tests and benchmarks
    "ADAKRON_CHROMIUM",  # the browser of the console's tests
)
# Kubernetes sets variables in each container for each Service of the namespace; for `adakron` ADAKRON_PORT=tcp://...,
# ADAKRON_PORT_8000_TCP_ADDR, ADAKRON_SERVICE_HOST and so on.
_LINK_NAME = re.compile(
    r"ADAKRON\w*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
)
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://\S+", re.ASCII | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Environment:
    """The variables of one environment, classified."""

    values: Mapping[str, str]  # setting -> its value
    variables: Mapping[str, str]  # setting -> the variable that has set it
    links: tuple[str, ...]  # variables of Kubernetes, which are ignored
    wrong: Mapping[str, str]  # variable -> what is wrong with it

    @classmethod
    def read(cls, environ: Mapping[str, str], settings: Collection[str]) -> "Environment":
        """Classify the variables in `environ` by the names of the settings; read the files that they name."""
        given = {name: environ[name] for name in sorted(environ) if name.upper().startswith(PREFIX.rstrip("_"))}
        links = tuple(name for name, value in given.items() if _is_link(name, value.strip()))
        known = {f"{PREFIX}{name.upper()}": name for name in settings}
        values: dict[str, str] = {}
        variables: dict[str, str] = {}
        wrong: dict[str, str] = {}
        for variable, text in given.items():
            setting = known.get(variable.removesuffix(FILE), known.get(variable))
            if variable in links or variable in OTHER_VARIABLES or not text.strip():
                continue
            if setting is None:
                wrong[variable] = _unknown(variable, [*known, *OTHER_VARIABLES])
            elif setting in variables:
                wrong[variable] = f"{variables[setting]} is also set: remove one of the two"
            else:
                variables[setting] = variable
                try:
                    value = _read_file(text.strip()) if variable not in known else text.strip()
                    if value:
                        values[setting] = _checked(value)
                except ValueError as error:
                    wrong[variable] = str(error)
        return cls(values, variables, links, wrong)


def key_of_the_command_line(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return ADAKRON_KEY_FILE or ADAKRON_ADMIN_KEY_FILE, whichever is set, and the key in its file.

    Raises InvalidInput if the file cannot be read or holds no key.
    """
    for variable in ("ADAKRON_KEY_FILE", "ADAKRON_ADMIN_KEY_FILE"):
        if path := environ.get(variable, "").strip():
            try:
                return variable, _checked(_read_file(path))
            except ValueError as error:
                raise InvalidInput(f"{variable}: {error}") from error
    return None


def _is_link(name: str, value: str) -> bool:
    return bool(_LINK_NAME.fullmatch(name) or (name.endswith("_PORT") and _LINK_VALUE.fullmatch(value)))


def _unknown(variable: str, known: list[str]) -> str:
    end = FILE if variable.upper().endswith(FILE) else ""
    names = {name.removeprefix(PREFIX): name for name in known}
    wanted = variable.upper().removesuffix(FILE).removeprefix(PREFIX.rstrip("_")).strip("_")
    near = get_close_matches(wanted, names, n=1)
    if near:
        return f"no setting has this name; did you mean {names[near[0]]}{end}?"
    return "no setting has this name: remove it (docs/configuration.md lists the settings)"


def _read_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{path} has more than {MAX_FILE_BYTES // 1024} KiB, so it holds no setting")
    try:
        value = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    if not value:
        raise ValueError(f"{path} is empty")
    return value


def _checked(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("the value has a line break or another control character inside")
    return value
