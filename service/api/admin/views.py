"""What the admin API shows of the registry's values."""

from service.api.admin.schemas import AdminTask, ChangesInfo, MovedAlias, VersionInfo
from service.api.deps import ServerState
from service.api.schemas import KeyInfo
from service.core import ApiKey, PublishedVersion
from service.errors import UnknownTask
from service.registry import Changes, TaskEntry


def entry_of(state: ServerState, task: str) -> TaskEntry:
    """The entry of `task`. Raises UnknownTask."""
    entry = state.follower.snapshot.tasks.get(task)
    if entry is None:
        raise UnknownTask(task)
    return entry


def changes_info(changes: Changes | None) -> ChangesInfo | None:
    """What a version changes for clients of the live one."""
    return None if changes is None else ChangesInfo(**changes.as_json())


def version_info(version: PublishedVersion, changes: Changes | None) -> VersionInfo:
    """One version, and what it changes for clients."""
    return VersionInfo(
        task=version.task,
        version=version.version,
        digest=version.digest,
        created_at=version.created_at,
        type=version.spec.type,
        labels=list(version.spec.labels),
        pair=version.spec.pair,
        max_length=version.spec.max_length,
        truncation=version.spec.truncation,
        temperature=version.spec.temperature,
        num_parameters=version.num_parameters,
        num_bytes=version.num_bytes,
        metrics=dict(version.metrics),
        quarantined=version.quarantined,
        changes=changes_info(changes),
    )


def admin_task(entry: TaskEntry) -> AdminTask:
    """A task with its versions and aliases."""
    versions = [version_info(version, entry.changes(version)) for version in entry.versions.values()]
    return AdminTask(
        task=entry.name,
        versions=versions,
        aliases=dict(entry.aliases),
        weight=entry.weight,
        rollback_to=entry.rollback_to,
    )


def moved_alias(entry: TaskEntry, changes: Changes | None) -> MovedAlias:
    """A task after one of its aliases has moved, and what that changed for clients."""
    return MovedAlias(**dict(admin_task(entry)), changes=changes_info(changes))


def key_info(key: ApiKey) -> KeyInfo:
    """A key, without what it is made of."""
    return KeyInfo(
        id=key.id,
        name=key.name,
        scopes=sorted(key.scopes),
        tasks=sorted(key.tasks),
        created_at=key.created_at,
        revoked_at=key.revoked_at,
    )
