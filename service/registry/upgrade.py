"""Bring a database to the newest schema, however many processes start at once."""

import threading

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, func, select

from service.errors import RegistryUnavailable
from service.registry.database import locking

ADVISORY_LOCK = 0x61646B726F6E  # "adakron": any number that no other program uses in this database
UPGRADE_TIMEOUT_S = 60
_ALEMBIC = threading.Lock()  # alembic keeps the migration that is running in globals of its own


def migrations() -> Config:
    """Where alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", "service.registry:migrations")
    return config


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing, in one transaction; the others wait for it and then find nothing to do.

    Raises RegistryUnavailable where the database cannot be reached, or was written by a newer release.
    """
    config = migrations()
    with _ALEMBIC, locking(engine, UPGRADE_TIMEOUT_S) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise RegistryUnavailable(f"the registry was written by a newer release: {error}") from error
