"""What the processes that a server starts import."""
