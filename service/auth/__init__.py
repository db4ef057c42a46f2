"""API keys (keys.py), and what a key permits (permissions.py)."""
