"""What goes wrong with a backup file, or with a registry that is damaged, told so that a person can act on it."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from service.errors import InvalidInput, RegistryUnavailable, StorageFull


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Every failure of the backup file at `path` becomes InvalidInput, or StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no space is left for {path}") from error
        raise InvalidInput(f"{path} cannot be used: {error.strerror}") from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StorageFull(f"no space is left for {path}") from error
        raise InvalidInput(f"{path} cannot be used: {error.orig}") from error
    except StorageFull as error:
        raise StorageFull(f"no space is left for {path}") from error
    except RegistryUnavailable as error:  # of `upgrade`, which takes the file for a registry
        raise InvalidInput(f"{path} cannot be used: {getattr(error.__cause__, 'orig', error)}") from error


@contextmanager
def unreadable_rows() -> Iterator[None]:
    """A row of the registry that SQLAlchemy cannot read, with a time that is none say, becomes RegistryUnavailable."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise RegistryUnavailable(f"the registry holds what cannot be read: {error}") from error
