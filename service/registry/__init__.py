"""Tasks, their published versions and aliases, in one SQL database."""

from service.registry.follower import Follower
from service.registry.models import AuditRow
from service.registry.snapshot import Snapshot, TaskEntry, unknown_task
from service.registry.store import UNSET, Registry, Unset

__all__ = ["UNSET", "AuditRow", "Follower", "Registry", "Snapshot", "TaskEntry", "Unset", "unknown_task"]
