"""Settings from the environment and the command line; errors name the variable or option that the operator wrote."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from service.errors import InvalidInput
from service.settings.environment import PREFIX, Environment
from service.settings.model import Settings

OPTIONS = {"registry_url": "--registry"}  # options whose names differ from their setting
MAX_SHOWN_CHARACTERS = 80  # of a wrong value
SECRET = frozenset({"admin_key", "registry_url"})  # values that no message shows


@dataclass(frozen=True)
class Problem:
    """One wrong value, variable or file."""

    place: str  # the variable or the option
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True)
class Reading:
    """The settings and the problems found; `settings` has the default of each wrong value."""

    settings: Settings
    problems: tuple[Problem, ...]
    links: tuple[str, ...]  # variables that Kubernetes sets, which are ignored

    def warnings(self) -> Iterator[str]:
        """Yield warnings that do not prevent a start."""
        if self.links:
            yield (
                f"{', '.join(self.links)}: ignored, as Kubernetes sets them for a Service of that name "
                "(enableServiceLinks: false in the Pod leaves them out)"
            )


def read_settings(given: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Reading:
    """Read the settings from `environ` (default: this process's); the options in `given` take precedence."""
    environment = Environment.read(os.environ if environ is None else environ, Settings.model_fields)
    problems = [Problem(variable, message) for variable, message in environment.wrong.items()]
    usable = dict(environment.values) | dict(given)
    try:
        return Reading(Settings(**usable), tuple(problems), environment.links)
    except ValidationError as error:
        for entry in error.errors(include_url=False):
            name = str(entry["loc"][0]) if entry["loc"] else ""
            value, shown = entry["input"], ""
            if name not in SECRET and isinstance(value, str):
                shown = f" (it is {_shorten(value)!r})"
            place = _option(name) if name in given else environment.variables.get(name, f"{PREFIX}{name.upper()}")
            problems.append(Problem(place, entry["msg"].removeprefix("Value error, ") + shown))
            usable.pop(name, None)
    return Reading(Settings(**usable), tuple(problems), environment.links)


def load_settings(given: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings as `read_settings` does; raise InvalidInput for the first problem."""
    reading = read_settings(given, environ)
    for problem in reading.problems:
        raise InvalidInput(str(problem))
    return reading.settings


def _shorten(value: str) -> str:
    """Return the beginning of `value` that fits in a message."""
    return value if len(value) <= MAX_SHOWN_CHARACTERS else f"{value[:MAX_SHOWN_CHARACTERS]}..."


def _option(name: str) -> str:
    return OPTIONS.get(name, f"--{name.replace('_', '-')}")
