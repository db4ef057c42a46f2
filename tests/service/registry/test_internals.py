"""The parts of psycopg that the registry uses though they are not documented: each is named here.

If one fails after an upgrade of psycopg, adapt service/registry/postgres.py; then raise the cap in pyproject.toml.
"""

import inspect
import socket
import time
import tomllib
from pathlib import Path

import psycopg
import pytest
from packaging.requirements import Requirement

from service.registry.database import create_engine, reading
from service.registry.deadline import call_deadline
from service.registry.postgres import LimitedConnection, connect_alone
from tests.support.databases import fresh_database
from tests.support.paths import ROOT

LIMIT_S = 0.3
PROMPTLY_S = 5.0  # far below the time after which psycopg or the server would give up


def test_psycopg_is_capped() -> None:
    """Only the minor version that these tests ran with may be installed: private names may change in the next."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (requirement,) = (
        requirement for line in project["dependencies"] if (requirement := Requirement(line)).name == "psycopg"
    )
    assert requirement.specifier.contains(psycopg.__version__)
    major, minor = (int(part) for part in psycopg.__version__.split(".")[:2])
    assert not requirement.specifier.contains(f"{major}.{minor + 1}")


def test_connect_gen_is_a_class_method_with_a_generator() -> None:
    """`Connection._connect_gen` connects in steps, as a generator that can be wrapped."""
    assert isinstance(inspect.getattr_static(psycopg.BaseConnection, "_connect_gen", None), classmethod)
    assert inspect.isgeneratorfunction(psycopg.Connection._connect_gen)


def test_wait_takes_a_generator_first() -> None:
    """`Connection.wait` runs a generator, its first argument."""
    assert list(inspect.signature(psycopg.Connection.wait).parameters)[:2] == ["self", "gen"]


def test_connecting_goes_through_connect_gen() -> None:
    """`Connection.connect` calls `_connect_gen`, and resumes it at intervals while the server is silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent, call_deadline(LIMIT_S):
        started = time.monotonic()
        with pytest.raises(psycopg.errors.ConnectionTimeout, match="did not answer in time"):
            LimitedConnection.connect(f"host=127.0.0.1 port={silent.getsockname()[1]} user=postgres sslmode=disable")
        assert time.monotonic() - started < PROMPTLY_S


def test_every_call_goes_through_wait(tmp_path: Path) -> None:
    """Queries, streams, copies and commits wait in `Connection.wait`, which resumes the generator at intervals."""
    with fresh_database("postgresql", tmp_path) as url:
        engine = create_engine(url)
        for call in (
            lambda connection: connection.execute("SELECT pg_sleep(60)"),
            lambda connection: list(connection.cursor().stream("SELECT pg_sleep(60)")),
            lambda connection: list(connection.cursor().copy("COPY (SELECT pg_sleep(60)) TO STDOUT").__enter__()),
        ):
            connection = connect_alone(engine)
            connection.execute("SET statement_timeout = '1s'")  # ends the session, so that the database can be emptied
            started = time.monotonic()
            with call_deadline(LIMIT_S), pytest.raises(psycopg.errors.ConnectionTimeout):
                call(connection)
            assert connection.closed
            assert time.monotonic() - started < PROMPTLY_S
        engine.dispose()


def test_sqlalchemy_connects_with_our_class(tmp_path: Path) -> None:
    """The event `do_connect` replaces the connection that SQLAlchemy's dialect makes."""
    with fresh_database("postgresql", tmp_path) as url:
        engine = create_engine(url)
        with reading(engine) as connection:
            assert isinstance(connection.connection.driver_connection, LimitedConnection)
        engine.dispose()
