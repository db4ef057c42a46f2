"""Logs: one line per message on stderr, as text or as JSON, with the id of the request that it belongs to."""

import contextlib
import logging
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue

from service.observability.log_lines import JsonLines, TextLines
from service.observability.request_context import find_context
from service.settings import Settings

MAX_BUFFERED = 10_000  # lines that wait while stderr is not read
FLUSH_S = 0.05  # between writes
CHUNK_BYTES = select.PIPE_BUF  # of one write: the most that a pipe takes undivided
END_S = 2.0  # for the last lines to be read
_NOISY = ("httpx", "alembic.runtime.plugins", "alembic.runtime.migration")

logger = logging.getLogger(__name__)


@contextmanager
def to_stderr(settings: Settings) -> Iterator[None]:
    """Log everything in this process to stderr while inside.

    Logging never blocks a request. A thread writes the buffered lines every FLUSH_S; if stderr is not read, further
    lines are dropped and counted.
    """
    hooks = threading.excepthook, sys.unraisablehook
    _log_unhandled_exceptions()
    buffer = _Buffer()
    writer = _Writer(buffer)
    writer.start()
    try:
        with written_by(buffer, settings):
            yield
    finally:
        logging.captureWarnings(False)
        threading.excepthook, sys.unraisablehook = hooks
        writer.stop()
        buffer.close()


def to_stderr_at_once(settings: Settings) -> None:
    """Log to stderr without a buffer, until the end of a process that has no event loop."""
    _log_unhandled_exceptions()
    _start(logging.StreamHandler(sys.stderr), settings)


@contextmanager
def written_by(handler: logging.Handler, settings: Settings) -> Iterator[None]:
    """Send every line of at least the level in `settings` to `handler` while inside, in the format in `settings`."""
    level = logging.root.level
    _start(handler, settings)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)
        logging.root.setLevel(level)


def _start(handler: logging.Handler, settings: Settings) -> None:
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    handler.addFilter(_add_request)
    logging.root.addHandler(handler)
    logging.root.setLevel(settings.log_level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _log_unhandled_exceptions() -> None:
    logging.captureWarnings(True)
    threading.excepthook = lambda met: logger.error("a thread has ended", exc_info=met.exc_value or True)
    sys.unraisablehook = lambda met: logger.error("an exception was ignored", exc_info=met.exc_value or True)


class _Buffer(QueueHandler):
    """Formats each line in the thread that logs it and queues it, or counts it as dropped. Never waits.

    A SimpleQueue is reentrant: a finaliser may log while this thread is about to put a line.
    """

    def __init__(self) -> None:
        self.lines: SimpleQueue[str] = SimpleQueue()
        super().__init__(self.lines)
        self.num_dropped = 0

    def prepare(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record) + "\n"
        except Exception:  # logging must not fail, and the arguments may quote a client
            known = {"name": record.name, "levelname": record.levelname, "msg": "a line could not be formatted"}
            return self.format(logging.makeLogRecord(known)) + "\n"

    def enqueue(self, line: str) -> None:  # type: ignore[override]  # what `prepare` returns
        if self.lines.qsize() < MAX_BUFFERED:
            self.lines.put(line)
        else:
            self.num_dropped += 1


class _Writer(QueueListener):
    """A thread that writes the queued lines to stderr, at most once in FLUSH_S."""

    def __init__(self, buffer: _Buffer) -> None:
        super().__init__(buffer.lines)
        self._buffer, self._lines = buffer, list[str]()

    def handle(self, line: str) -> None:  # type: ignore[override]  # what `_Buffer.prepare` returns
        """Write the line with those before it, unless more lines are waiting."""
        self._lines.append(line)
        if self._buffer.lines.empty() or len(self._lines) >= MAX_BUFFERED:
            self._write()
            time.sleep(FLUSH_S)

    def stop(self) -> None:
        """Write the remaining lines; give up after END_S if stderr is not read."""
        self.enqueue_sentinel()
        assert self._thread is not None
        self._thread.join(END_S)
        if not self._thread.is_alive():
            self._write()

    def _write(self) -> None:
        num_dropped, self._buffer.num_dropped = self._buffer.num_dropped, 0
        if num_dropped:  # at the end, no handler takes the line any more
            message = "%d lines were dropped: stderr was not read"
            record = logger.makeRecord(logger.name, logging.WARNING, __file__, 0, message, (num_dropped,), None)
            self._lines.append(self._buffer.prepare(record))
        with contextlib.suppress(OSError, ValueError):  # stderr is closed
            for chunk in _chunks(self._lines):
                sys.stderr.write(chunk)
                sys.stderr.flush()
        self._lines.clear()


def _chunks(lines: list[str]) -> Iterator[str]:
    """Join lines to chunks of at most CHUNK_BYTES, so that lines of several processes do not mix in a pipe.

    A longer line is a chunk of its own.
    """
    chunk, num_bytes = list[str](), 0
    for line in lines:
        size = len(line.encode(errors="replace"))
        if chunk and num_bytes + size > CHUNK_BYTES:
            yield "".join(chunk)
            chunk, num_bytes = [], 0
        chunk.append(line)
        num_bytes += size
    if chunk:
        yield "".join(chunk)


def _add_request(line: logging.LogRecord) -> bool:
    if (context := find_context()) is not None:
        line.request_id = context.request_id
        if context.trace_id is not None:
            line.trace_id, line.span_id = context.trace_id, context.span_id
    return True
