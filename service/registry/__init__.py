"""Tasks, their published versions and aliases, in one SQL database."""

from service.registry.compatibility import Changes
from service.registry.expected import UNSET, Unset
from service.registry.follower import Follower
from service.registry.models import AuditRow
from service.registry.results import Moved, Published
from service.registry.snapshot import Snapshot, TaskEntry, unknown_task
from service.registry.store import Registry

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
