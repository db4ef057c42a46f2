"""The bytes of adapters: hashed again whenever they are read, put into quarantine where they are damaged."""

import hashlib
import logging

from sqlalchemy import Engine, select

from service.errors import AdapterUnavailable, ServiceError
from service.registry.database import reading
from service.registry.models import Blob
from service.registry.time_limit import CALL_TIMEOUT_S, time_limit
from service.registry.write import writing

ACTOR = "registry"  # who a quarantine is by, in the audit

logger = logging.getLogger(__name__)


def read_bytes(engine: Engine, digest: str) -> bytes:
    """The file of that digest. Raises AdapterUnavailable where it is damaged, in quarantine or gone."""
    with time_limit(CALL_TIMEOUT_S):
        with reading(engine) as connection:
            row = connection.execute(select(Blob.data, Blob.quarantined_at).where(Blob.digest == digest)).first()
        if row is None:
            raise AdapterUnavailable(f"adapter {digest[:12]} is no longer in the registry")
        if row.quarantined_at is None:
            if hashlib.sha256(row.data).hexdigest() == digest:
                return bytes(row.data)
            _quarantine(engine, digest)
    raise AdapterUnavailable(f"adapter {digest[:12]} is damaged in the registry: publish its file again")


def _quarantine(engine: Engine, digest: str) -> None:
    try:
        with writing(engine, ACTOR, "") as write:
            # Looked at again there: it may be whole again by now, or somebody else was first.
            found = write.quarantine(digest)
    except ServiceError as error:
        logger.error("adapter %s is damaged in the registry, and cannot be put into quarantine: %s", digest, error)
    else:
        if found:
            logger.error("adapter %s is damaged in the registry, and in quarantine until it is published again", digest)
