"""Tasks, their published versions and aliases, in one SQL database."""

from service.registry.compatibility import Changes
from service.registry.follower import Follower
from service.registry.snapshot import Snapshot, TaskEntry, unknown_task
from service.registry.store import Registry
from service.registry.values import UNSET, AuditRow, Moved, Published, Unset

__all__ = [
    "UNSET",
    "AuditRow",
    "Changes",
    "Follower",
    "Moved",
    "Published",
    "Registry",
    "Snapshot",
    "TaskEntry",
    "Unset",
    "unknown_task",
]
