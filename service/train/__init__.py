"""Offline training of one adapter: prepare -> fit -> package -> publish."""
