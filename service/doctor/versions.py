"""What is published: whole, and made for this backbone."""

import json
from collections.abc import Sequence

from alembic.runtime.migration import MigrationContext
from sqlalchemy import select

from adapters.errors import BackboneError
from service.core import LIVE
from service.doctor.finding import Finding, failed, ok, together, warning
from service.doctor.looking import looking, sqlite_path
from service.doctor.setup import Setup
from service.registry.models import Alias, Blob, Version

MAX_NAMED = 5
_QUERY = (
    select(Version.task, Version.version, Blob.quarantined_at, Version.metadata_json, Alias.version)
    .join(Blob, Blob.digest == Version.digest)
    .outerjoin(Alias, (Alias.task == Version.task) & (Alias.name == LIVE) & (Alias.version == Version.version))
    .order_by(Version.task, Version.version)
)


def versions(setup: Setup) -> Finding:
    """No version is in quarantine, and none was made for another backbone."""
    url = setup.settings.resolved_registry_url
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return ok("none yet")
    try:
        ours = setup.backbone.identity.weights_sha256, setup.backbone.identity.tokenizer_sha256
    except BackboneError:
        ours = None
    damaged: list[str] = []
    foreign: list[str] = []
    foreign_live: list[str] = []
    num_versions = 0
    with looking(url) as connection:
        if MigrationContext.configure(connection).get_current_revision() is None:  # it has no tables
            return ok("none yet")
        for task, version, quarantined_at, metadata, live in connection.execute(_QUERY).yield_per(100):
            num_versions += 1
            name = f"{task}@{version}"
            if quarantined_at is not None:
                damaged.append(name)
            if ours is not None and _made_for(metadata) != ours:
                (foreign_live if live is not None else foreign).append(name)
    findings = []
    if damaged:
        findings.append(
            failed(
                f"in quarantine, since their bytes are damaged: {_named(damaged)}",
                "publish their files again, or `adakron restore` a backup",
            )
        )
    if foreign_live:
        findings.append(
            failed(
                f"live, and made for another backbone: {_named(foreign_live)}",
                "set ADAKRON_BACKBONE to theirs, or train them anew",
            )
        )
    if foreign:
        findings.append(warning(f"made for another backbone: {_named(foreign)}", "delete them if they are not needed"))
    compared = "" if ours is not None else ", not compared with the backbone, which is not here"
    return together([ok(f"{num_versions} versions{compared}"), *findings])


def _made_for(metadata: str) -> tuple[str, str] | None:
    """SHA-256 of weights and tokenizer."""
    try:
        backbone = json.loads(metadata)["backbone"]
        return str(backbone["weights_sha256"]), str(backbone["tokenizer_sha256"])
    except (ValueError, LookupError, TypeError):
        return None


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
