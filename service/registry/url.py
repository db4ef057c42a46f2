"""The registry's URL: SQLite or PostgreSQL, in any of the spellings that other tools take."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from service.errors import InvalidInput

POSTGRES = "postgresql+psycopg"
_NAMES_OF_POSTGRES = ("postgres", "postgresql", POSTGRES)
_FORMS = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
_ESCAPES = "; in a user or a password write @ as %40, : as %3A, / as %2F, % as %25"


def parse_url(url: str) -> URL:
    """`url`, with one name for PostgreSQL's driver. Raises InvalidInput, with no password, for any other database."""
    try:
        parsed = make_url(url.strip())
    except (ArgumentError, ValueError) as error:  # the latter: its port is no number
        raise InvalidInput(f"the registry's URL cannot be read ({_FORMS}{_ESCAPES})") from error
    if parsed.drivername in _NAMES_OF_POSTGRES:
        if url.count("@") > 1:  # the rest of the password would be read as the host, and shown by a failed connection
            raise InvalidInput(f"the registry's URL has several @ ({_FORMS}{_ESCAPES})")
        return parsed.set(drivername=POSTGRES)
    if parsed.get_backend_name() == "sqlite":
        return parsed
    raise InvalidInput(f"the registry cannot use {parsed.drivername!r} ({_FORMS})")
