"""Empty databases of both kinds."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy

DATABASES = ("sqlite", "postgresql")
SERVER = "127.0.0.1:5432"
CLOSE_S = 20.0  # a busy server ends a session some time after its client has closed the connection


@contextmanager
def fresh_database(kind: str, folder: Path, *, encoding: str = "UTF8") -> Iterator[str]:
    """Yield the URL of an empty database and drop it afterwards, which fails if a connection was left open."""
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
            _wait_for_sessions(server, name)
            server.execute(f"DROP DATABASE {name}".encode())


def _wait_for_sessions(server: psycopg.Connection, name: str) -> None:
    deadline = time.monotonic() + CLOSE_S
    query = "SELECT FROM pg_stat_activity WHERE datname = %s"
    while server.execute(query, [name]).fetchone() is not None and time.monotonic() < deadline:
        time.sleep(0.02)


def execute(url: str, statement: str, **values: object) -> None:
    """Change the database without the registry."""
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement), values)
    engine.dispose()
