"""Offline training of one adapter: data -> train -> adapter file -> registry."""
