"""Empty databases of both kinds, for tests."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy

DATABASES = ("sqlite", "postgresql")
SERVER = "127.0.0.1:5432"


@contextmanager
def fresh_database(kind: str, folder: Path, *, encoding: str = "UTF8") -> Iterator[str]:
    """The URL of an empty database, dropped afterwards: a connection that was left open makes that fail."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'data' / 'registry.sqlite3'}"
        return
    name = f"adakron_test_{uuid4().hex}"
    try:
        server = psycopg.connect(f"postgresql://postgres@{SERVER}/postgres?connect_timeout=2", autocommit=True)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {SERVER}: {error}")
    with closing(server):
        how = f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        server.execute(f"CREATE DATABASE {name} {how}".encode())
        try:
            yield f"postgresql+psycopg://postgres@{SERVER}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name}".encode())


def execute(url: str, statement: str, **values: object) -> None:
    """Change the database behind the registry's back."""
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement), values)
    engine.dispose()
