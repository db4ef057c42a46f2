"""Child processes, the channel to them, control groups, and the drain at the end."""
