"""The published versions: intact, and trained for this backbone."""

import json
from collections.abc import Sequence

from sqlalchemy import select

from adapters.errors import BackboneError
from service.core import LIVE
from service.doctor.core import Finding, Setup, combine, failed, ok, warning
from service.doctor.readonly import read_only, sqlite_path
from service.registry.models import Alias, Blob, Version
from service.registry.schema import Schema, compare_schema, read_revisions

MAX_NAMED = 5
_QUERY = (
    select(Version.task, Version.version, Blob.quarantined_at, Version.metadata_json, Alias.version)
    .join(Blob, Blob.digest == Version.digest)
    .outerjoin(Alias, (Alias.task == Version.task) & (Alias.name == LIVE) & (Alias.version == Version.version))
    .order_by(Version.task, Version.version)
)


def versions(setup: Setup) -> Finding:
    """Check that no version is in quarantine and none was trained for another backbone."""
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
    with read_only(url) as connection:
        if compare_schema(read_revisions(connection)) is Schema.NONE:
            return ok("none yet")
        for task, version, quarantined_at, metadata, live in connection.execute(_QUERY).yield_per(100):
            num_versions += 1
            name = f"{task}@{version}"
            if quarantined_at is not None:
                damaged.append(name)
            if ours is not None and _backbone_digests(metadata) != ours:
                (foreign_live if live is not None else foreign).append(name)
    findings = []
    if damaged:
        findings.append(
            failed(
                f"in quarantine because their bytes are damaged: {_named(damaged)}",
                "publish their files again, or restore a backup with `adakron restore`",
            )
        )
    if foreign_live:
        findings.append(
            failed(
                f"live, but trained for another backbone: {_named(foreign_live)}",
                "set ADAKRON_BACKBONE to their backbone, or train them again",
            )
        )
    if foreign:
        findings.append(
            warning(f"trained for another backbone: {_named(foreign)}", "delete them if they are not needed")
        )
    compared = "" if ours is not None else ", not compared with the backbone, which is missing"
    return combine([ok(f"{num_versions} versions{compared}"), *findings])


def _backbone_digests(metadata: str) -> tuple[str, str] | None:
    """Return the SHA-256 of the weights and the tokenizer that the adapter was trained for; None if unreadable."""
    try:
        backbone = json.loads(metadata)["backbone"]
        return str(backbone["weights_sha256"]), str(backbone["tokenizer_sha256"])
    except (ValueError, LookupError, TypeError):
        return None


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
