"""Libraries that print nothing of their own."""

import os
import sys


def quieten_libraries() -> None:
    """No progress bars for files that load at once, no telemetry, no warnings that ask for nothing."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if transformers := sys.modules.get("transformers"):  # a check of the data does without
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
    if datasets := sys.modules.get("datasets"):
        datasets.disable_progress_bars()
        datasets.utils.logging.set_verbosity_error()
