"""The registry's URL: SQLite or PostgreSQL, in any of the spellings that other tools take."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from service.errors import InvalidInput

POSTGRES = "postgresql+psycopg"
_NAMES_OF_POSTGRES = ("postgres", "postgresql", POSTGRES)
_FORMS = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


def parse_url(url: str) -> URL:
    """`url`, with one name for PostgreSQL's driver. Raises InvalidInput, with no password, for any other database."""
    try:
        parsed = make_url(url.strip())
    except ArgumentError as error:
        raise InvalidInput(f"the registry's URL cannot be read ({_FORMS})") from error
    if parsed.drivername in _NAMES_OF_POSTGRES:
        return parsed.set(drivername=POSTGRES)
    if parsed.get_backend_name() == "sqlite":
        return parsed
    raise InvalidInput(f"the registry cannot use {parsed.drivername!r} ({_FORMS})")
