"""The registry: reachable, of this release, writable, and on a disk that suits it."""

import os
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from service.doctor.finding import Finding, failed, ok, together, warning
from service.doctor.looking import in_wal_mode, looking, sqlite_path
from service.doctor.mounts import NETWORK, file_system, nearest_existing
from service.doctor.setup import Setup
from service.errors import InvalidInput, ServiceError
from service.registry.upgrade import migrations
from service.registry.url import parse_url

_WRITABLE = """select pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean,
    to_regclass('tasks') is null or has_table_privilege('tasks', 'insert'),
    has_schema_privilege(current_schema(), 'create')"""


def registry(setup: Setup) -> Finding:
    """It can be reached, and its tables are those of this release. No migration is run."""
    url = setup.settings.resolved_registry_url
    try:
        where = parse_url(url).set(query={}).render_as_string(hide_password=True)  # the query may have a password, too
        path = sqlite_path(url)
        if path is not None and not path.exists():
            return ok(f"{path} is made at the first start")
        with looking(url) as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    except InvalidInput as error:
        return failed(str(error), "correct ADAKRON_REGISTRY_URL")
    except (ServiceError, OSError) as error:
        return failed(f"{where}: {error}", "look whether the database runs, and at ADAKRON_REGISTRY_URL")
    scripts = ScriptDirectory.from_config(migrations())
    head = scripts.get_current_head()
    if current is None:
        return ok(f"{where} is empty: the first start makes its tables")
    if current == head:
        return ok(f"{where}, revision {current}")
    if current in {script.revision for script in scripts.walk_revisions()}:
        remedy = "`adakron backup FILE` before that: an older release will not read it any more"
        return warning(f"{where} has revision {current}: the next start brings it to {head}", remedy)
    return failed(f"{where} was written by a newer release (revision {current})", "install that release")


def registry_write(setup: Setup) -> Finding:
    """This user may change it."""
    url = setup.settings.resolved_registry_url
    path = sqlite_path(url)
    if path is not None:
        return _file(path)
    with looking(url) as connection:
        read_only, may_insert, may_create = connection.execute(text(_WRITABLE)).one()
    if read_only:
        return failed("the database is read-only, or a standby", "name the primary in ADAKRON_REGISTRY_URL")
    if not may_insert:
        return failed("its user may not write into the tables", "grant it all rights on them, or make it their owner")
    if not may_create:
        return warning("its user may not create tables: migrations will fail", "make it the owner of the schema")
    return ok("the database can be written")


def _file(path: Path) -> Finding:
    nearest = nearest_existing(path)
    folder = nearest if nearest.is_dir() else nearest.parent
    user = os.geteuid()
    if path.exists() and not os.access(path, os.W_OK):
        return failed(f"user {user} cannot write {path}", f"chown {user} {path}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return failed(f"user {user} cannot write in {folder}, where SQLite keeps its journal", f"chown {user} {folder}")
    return ok(f"{path} can be written" if path.exists() else f"{path} can be made")


def sqlite_file(setup: Setup) -> Finding:
    """SQLite only: on a local disk, without a write-ahead log."""
    path = sqlite_path(setup.settings.resolved_registry_url)
    if path is None:
        return ok("not SQLite")
    kind = file_system(nearest_existing(path), setup.root)
    findings = [ok(f"on {kind}" if kind else "its file system cannot be told")]
    if kind in NETWORK:
        findings.append(
            failed(
                f"{path} is on a network file system ({kind}), whose locks are not to be relied on",
                "move it to a local disk, or use PostgreSQL (ADAKRON_REGISTRY_URL)",
            )
        )
    if path.exists() and in_wal_mode(path):
        findings.append(
            warning(
                "it is in WAL mode, which can corrupt it: another program has opened it",
                "end that program; the next start of the server converts it",
            )
        )
    return together(findings)
