"""Versions, aliases, weights, keys and the audit log, for those who operate the service."""
