"""Child processes and the channel to them (child.py), and the limits of control groups (cgroups.py)."""
