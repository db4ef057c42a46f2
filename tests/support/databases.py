"""Empty databases of both kinds.

Creating and dropping a database of PostgreSQL takes 0.3 s, so each process reuses its own: it empties them instead.
"""

import atexit
import time
from collections import defaultdict
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
_EMPTY_SCHEMA = """DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC"""

_empty: dict[str, list[str]] = defaultdict(list)  # names of databases of this process without tables, by encoding


@contextmanager
def fresh_database(kind: str, folder: Path, *, encoding: str = "UTF8") -> Iterator[str]:
    """Yield the URL of an empty database; afterwards fail if a connection to it was left open."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'data' / 'registry.sqlite3'}"
        return
    try:
        server = _connect("postgres")
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {SERVER}: {error}")
    with closing(server):
        name = _empty[encoding].pop() if _empty[encoding] else _create(server, encoding)
        try:
            yield f"postgresql+psycopg://postgres@{SERVER}/{name}"
        finally:
            _wait_for_sessions(server, name)
            try:
                with closing(_connect(name)) as database:
                    database.execute(_EMPTY_SCHEMA)
            except psycopg.Error:
                server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
                raise
            _empty[encoding].append(name)


def drop_databases() -> None:
    """Drop the databases of this process, none of which is in use."""
    names = [name for names in _empty.values() for name in names]
    _empty.clear()
    if names:
        with closing(_connect("postgres")) as server:
            for name in names:
                server.execute(f"DROP DATABASE {name}".encode())


atexit.register(drop_databases)


def execute(url: str, statement: str, **values: object) -> None:
    """Change the database without the registry."""
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement), values)
    engine.dispose()


def _connect(name: str) -> psycopg.Connection:
    return psycopg.connect(f"postgresql://postgres@{SERVER}/{name}?connect_timeout=20", autocommit=True)


def _create(server: psycopg.Connection, encoding: str) -> str:
    name = f"adakron_test_{uuid4().hex}"
    how = f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    server.execute(f"CREATE DATABASE {name} {how}".encode())
    return name


def _wait_for_sessions(server: psycopg.Connection, name: str) -> None:
    deadline = time.monotonic() + CLOSE_S
    query = "SELECT query FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
    while (session := server.execute(query, [name]).fetchone()) is not None:
        if time.monotonic() > deadline:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            pytest.fail(f"a connection to the database was left open; its last query: {session[0]}")
        time.sleep(0.02)
