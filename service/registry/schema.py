"""The database's schema: compare it with the migrations of this release, and bring it up to date."""

import threading
from enum import Enum

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, func, select

from service.errors import RegistryUnavailable
from service.registry.database import locking

ADVISORY_LOCK = 0x61646B726F6E  # "adakron": any number that no other program uses in this database
UPGRADE_TIMEOUT_S = 60
_ALEMBIC = threading.Lock()  # alembic keeps the running migration in globals


class Schema(Enum):
    """The schema of a database, compared with that of this release."""

    NONE = "none"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


def alembic_config() -> Config:
    """Return a configuration with which alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", "service.registry:migrations")
    return config


def newest_revision() -> str | None:
    """Return the revision of this release's schema."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def read_revisions(connection: Connection) -> tuple[str, ...]:
    """Return the revisions that the database states: one, or none in an empty database."""
    return MigrationContext.configure(connection).get_current_heads()


def compare_schema(revisions: tuple[str, ...]) -> Schema:
    """Compare the stated `revisions` of a database with the migrations of this release."""
    if not revisions:
        return Schema.NONE
    if revisions == (newest_revision(),):
        return Schema.CURRENT
    scripts = ScriptDirectory.from_config(alembic_config())
    known = {script.revision for script in scripts.walk_revisions()}
    return Schema.OLDER if known.issuperset(revisions) else Schema.NEWER


def upgrade(engine: Engine) -> None:
    """Run the missing migrations in one transaction; other processes wait for it and find nothing left to do.

    Raises RegistryUnavailable if the database cannot be reached, or was written by a newer release.
    """
    config = alembic_config()
    with _ALEMBIC, locking(engine, UPGRADE_TIMEOUT_S) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise RegistryUnavailable(f"the registry was written by a newer release: {error}") from error
