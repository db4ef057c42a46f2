"""The `adakron` command."""

import logging
import os
import signal
import sys

from service.commands.stopping import stop_at_once


def open_stderr() -> None:
    """Write stderr to /dev/null if the process was started without one.

    Otherwise the next file or socket would get descriptor 2, and with it the messages of native libraries.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # open until the process ends
        os.set_inheritable(sys.stderr.fileno(), True)


def main() -> None:
    """Entry point of `adakron`."""
    open_stderr()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with stop_at_once(signal.SIGINT):
        from service.commands.app import app  # takes half a second, in which Ctrl-C would show a traceback
    logging.captureWarnings(True)
    app()


if __name__ == "__main__":
    main()
