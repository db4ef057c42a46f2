"""The life of an upload: its checks in a process of their own, and the shipped adapters."""
