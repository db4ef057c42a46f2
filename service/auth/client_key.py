"""The key that the command line sends: from an option, a variable, a file, or the data folder of a local server."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from service.client import InvalidArgument
from service.client.connection import clean_key, is_local
from service.errors import InvalidInput
from service.settings.environment import key_of_the_command_line

KEY_VARIABLES = ("ADAKRON_KEY", "ADAKRON_ADMIN_KEY")


@dataclass(frozen=True)
class FoundKey:
    """The key for a server, or the places that hold none."""

    text: str | None = field(repr=False)
    place: str  # for people: the origin of the key, or the reason why there is none


def find_key(url: str, given: str | None) -> FoundKey:
    """Return `given`, else the key of ADAKRON_KEY_FILE, else the first key of a local server from its data folder.

    Raises InvalidInput for a malformed key, and if the file that ADAKRON_KEY_FILE names holds none.
    """
    if given is not None and given.strip():
        names = [name for name in KEY_VARIABLES if os.environ.get(name) == given]
        return FoundKey(_checked(given), names[0] if names else "--key")
    if (from_file := key_of_the_command_line(os.environ)) is not None:
        variable, key = from_file
        return FoundKey(_checked(key), f"the file that {variable} names")
    none = f"no --key, no {' and no '.join(KEY_VARIABLES)}"
    if not is_local(url):  # never send the key of this machine's server to another one
        return FoundKey(None, f"{none}; a key file is read for a server on this machine only")
    path = Path(os.environ.get("ADAKRON_DATA_DIR") or "data", "admin.key").absolute()
    try:
        return FoundKey(path.read_text("ascii").strip(), str(path))
    except ValueError:
        return FoundKey(None, f"{none}, and {path} holds no key")
    except OSError as error:
        return FoundKey(None, f"{none}, and {path} cannot be read: {error.strerror}")


def _checked(key: str) -> str:
    try:
        return clean_key(key)
    except InvalidArgument as error:
        raise InvalidInput(str(error)) from error
