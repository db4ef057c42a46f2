"""The tasks that every peer serves; imported by the peers and by the benchmark."""

NUM_TASKS = 64
TASKS = tuple(f"task-{number:02}" for number in range(NUM_TASKS))
LABELS = ("no", "yes")
MAX_LENGTH = 128  # tokens; none of the texts has as many
