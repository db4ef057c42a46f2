"""What the admin API shows of the registry's values."""

from service.access import permits
from service.api.deps import ServerState
from service.api.schemas import AdminTask, KeyInfo, VersionInfo
from service.core import ApiKey, PublishedVersion
from service.registry import TaskEntry, unknown_task


def entry_of(state: ServerState, task: str, caller: ApiKey) -> TaskEntry:
    """The entry of `task`. Raises UnknownTask, whose near matches are only those that `caller` may know of."""
    tasks = state.follower.snapshot.tasks
    entry = tasks.get(task)
    if entry is None:
        raise unknown_task(task, [name for name in tasks if permits(caller, name)])
    return entry


def version_info(version: PublishedVersion) -> VersionInfo:
    """One version."""
    return VersionInfo(
        task=version.task,
        version=version.version,
        digest=version.digest,
        created_at=version.created_at,
        type=version.spec.type,
        labels=list(version.spec.labels),
        pair=version.spec.pair,
        max_length=version.spec.max_length,
        temperature=version.spec.temperature,
        num_parameters=version.num_parameters,
        num_bytes=version.num_bytes,
        metrics=dict(version.metrics),
        quarantined=version.quarantined,
    )


def admin_task(entry: TaskEntry) -> AdminTask:
    """A task with its versions and aliases."""
    versions = [version_info(version) for version in entry.versions.values()]
    return AdminTask(task=entry.name, versions=versions, aliases=dict(entry.aliases), weight=entry.weight)


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
