"""Health, metrics, the list of tasks and the console."""
