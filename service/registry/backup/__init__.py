"""Backups: export a registry in use into one file, verify that file, restore it into a registry in use."""

from service.registry.backup.export import BackupSummary, export_registry
from service.registry.backup.restore import RestoreSummary, published_at, published_in, restore_backup
from service.registry.backup.verify import VerifiedBackup, verified_backup

__all__ = [
    "BackupSummary",
    "RestoreSummary",
    "VerifiedBackup",
    "export_registry",
    "published_at",
    "published_in",
    "restore_backup",
    "verified_backup",
]
