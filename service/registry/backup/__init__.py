"""A registry in one file: taken from a registry that is in use, checked, and put back into one that is in use."""

from service.registry.backup.check import CheckedBackup, checked_backup
from service.registry.backup.put_back import RestoreSummary, published_at, published_in, restore
from service.registry.backup.take import BackupSummary, back_up

__all__ = [
    "BackupSummary",
    "CheckedBackup",
    "RestoreSummary",
    "back_up",
    "checked_backup",
    "published_at",
    "published_in",
    "restore",
]
