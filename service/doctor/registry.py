"""The registry: reachable, with the schema of this release, writable, and on a suitable disk."""

import os
from pathlib import Path

from sqlalchemy import text

from service.doctor.core import Finding, Setup, combine, failed, ok, warning
from service.doctor.readonly import NETWORK, file_system, in_wal_mode, nearest_existing, read_only, sqlite_path
from service.errors import InvalidInput, ServiceError
from service.registry.database import parse_url
from service.registry.schema import Schema, compare_schema, newest_revision, read_revisions

_WRITABLE = """select pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean,
    to_regclass('tasks') is null or has_table_privilege('tasks', 'insert'),
    has_schema_privilege(current_schema(), 'create')"""


def registry(setup: Setup) -> Finding:
    """Check that the registry can be reached and has the schema of this release. No migration is run."""
    url = setup.settings.resolved_registry_url
    try:
        where = parse_url(url).set(query={}).render_as_string(hide_password=True)  # the query may hold a password too
        path = sqlite_path(url)
        if path is not None and not path.exists():
            return ok(f"{path} is created at the first start")
        with read_only(url) as connection:
            revisions = read_revisions(connection)
    except InvalidInput as error:
        return failed(str(error), "correct ADAKRON_REGISTRY_URL")
    except (ServiceError, OSError) as error:
        return failed(f"{where}: {error}", "check that the database runs, and ADAKRON_REGISTRY_URL")
    schema, revision = compare_schema(revisions), ", ".join(revisions)
    if schema is Schema.NONE:
        return ok(f"{where} is empty: the first start creates its tables")
    if schema is Schema.CURRENT:
        return ok(f"{where}, revision {revision}")
    if schema is Schema.NEWER:
        return failed(f"{where} was written by a newer release (revision {revision})", "install that release")
    return warning(
        f"{where} has revision {revision}: the next start migrates it to {newest_revision()}",
        "run `adakron backup FILE` first: an older release cannot read the migrated registry",
    )


def registry_write(setup: Setup) -> Finding:
    """Check that this user can write to the registry."""
    url = setup.settings.resolved_registry_url
    path = sqlite_path(url)
    if path is not None:
        return _check_file(path)
    with read_only(url) as connection:
        is_read_only, may_insert, may_create = connection.execute(text(_WRITABLE)).one()
    if is_read_only:
        return failed("the database is read-only or a standby", "set ADAKRON_REGISTRY_URL to the primary")
    if not may_insert:
        return failed("its user may not write to the tables", "grant all rights on them, or make the user their owner")
    if not may_create:
        return warning("its user may not create tables: migrations will fail", "make the user the owner of the schema")
    return ok("the database can be written")


def _check_file(path: Path) -> Finding:
    nearest = nearest_existing(path)
    folder = nearest if nearest.is_dir() else nearest.parent
    user = os.geteuid()
    if path.exists() and not os.access(path, os.W_OK):
        return failed(f"user {user} cannot write {path}", f"chown {user} {path}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return failed(f"user {user} cannot write in {folder}, where SQLite keeps its journal", f"chown {user} {folder}")
    return ok(f"{path} can be written" if path.exists() else f"{path} can be created")


def sqlite_file(setup: Setup) -> Finding:
    """Check that a SQLite registry is on a local disk and has no write-ahead log."""
    path = sqlite_path(setup.settings.resolved_registry_url)
    if path is None:
        return ok("not SQLite")
    kind = file_system(nearest_existing(path), setup.root)
    findings = [ok(f"on {kind}" if kind else "on an unknown file system")]
    if kind in NETWORK:
        findings.append(
            failed(
                f"{path} is on a network file system ({kind}), whose locks are unreliable",
                "move it to a local disk, or use PostgreSQL (ADAKRON_REGISTRY_URL)",
            )
        )
    if path.exists() and in_wal_mode(path):
        findings.append(
            warning(
                "it is in WAL mode, set by another program, which can corrupt it",
                "stop that program; the next start of the server converts the file",
            )
        )
    return combine(findings)
