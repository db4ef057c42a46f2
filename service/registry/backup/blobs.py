"""The bytes of a restore: brought in before anything refers to them, taken away after nothing does any more.

They are nearly all of a registry. In transactions of their own, a few at a time, they hold up nobody; the one that
changes what is published is short then.
"""

import hashlib
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, delete, insert, select, update

from service.registry.backup.check import CheckedBackup
from service.registry.backup.transactions import in_turn, looking
from service.registry.database import is_sqlite
from service.registry.models import Blob, Version
from service.registry.sqlite import require_room

BATCH = 4  # adapters of one transaction


def bring_in(engine: Engine, backup: CheckedBackup) -> set[str]:
    """Store the adapters of `backup` that the registry lacks, or has damaged; the digests of these."""
    needed = []
    for digest in sorted(backup.intact | backup.damaged):
        with looking(engine) as connection:
            if not _is_good(connection, digest):
                needed.append(digest)
    for start in range(0, len(needed), BATCH):
        with in_turn(engine) as connection:
            store(connection, backup, needed[start : start + BATCH])
    return set(needed)


def store(connection: Connection, backup: CheckedBackup, digests: Iterable[str]) -> None:
    """Make each of `digests` a blob: of the registry's own bytes where they hash, else of those of `backup`.

    It is in quarantine where neither do. Raises StorageFull.
    """
    for digest in digests:
        own = connection.execute(select(Blob.data).where(Blob.digest == digest)).scalar()
        keep = own is not None and _hashes(own, digest)
        other = backup.connection.execute(select(Blob.data).where(Blob.digest == digest)).scalar_one()
        if is_sqlite(connection.engine) and not keep:
            require_room(connection, len(other))
        good = keep or digest in backup.intact
        quarantined_at = None if good else datetime.now(UTC).replace(tzinfo=None)
        values = {"data": own if keep else other, "quarantined_at": quarantined_at}
        if own is None:
            connection.execute(insert(Blob).values(digest=digest, **values))
        else:
            connection.execute(update(Blob).where(Blob.digest == digest).values(**values))


def take_away(engine: Engine, grace_s: float) -> None:
    """Delete what no version refers to any more, after `grace_s`: a server may still serve from what was before."""
    unused = ~select(Version.digest).where(Version.digest == Blob.digest).exists()
    with looking(engine) as connection:
        digests = connection.scalars(select(Blob.digest).where(unused)).all()
    if digests:
        time.sleep(grace_s)
    for start in range(0, len(digests), BATCH):
        with in_turn(engine) as connection:
            connection.execute(delete(Blob).where(Blob.digest.in_(digests[start : start + BATCH]), unused))


def _is_good(connection: Connection, digest: str) -> bool:
    row = connection.execute(select(Blob.data, Blob.quarantined_at).where(Blob.digest == digest)).first()
    return row is not None and row.quarantined_at is None and _hashes(row.data, digest)


def _hashes(data: bytes, digest: str) -> bool:
    return hashlib.sha256(data).hexdigest() == digest
