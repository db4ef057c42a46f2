"""The `adakron` command."""

import logging
import os
import signal

from service.commands.stopping import stop_at_once


def main() -> None:
    """Entry point of `adakron`."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with stop_at_once(signal.SIGINT):
        from service.commands.app import app  # takes half a second, in which Ctrl-C would show a traceback
    logging.captureWarnings(True)
    app()


if __name__ == "__main__":
    main()
