"""Logs: one line per message on stderr, as text or as JSON, with the id of the request that it belongs to.

Control characters in a message are escaped, so that it stays on its line. Of an exception raised while a request is
handled, the log has type and traceback, but the message only if it is from this project: others may quote the request.
"""

import contextlib
import json
import logging
import re
import select
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Any

from pydantic_core import PydanticSerializationError, to_json
from pythonjsonlogger.core import RESERVED_ATTRS, merge_record_extra
from pythonjsonlogger.json import JsonFormatter

from adapters.errors import AdapterError
from service.errors import ServiceError
from service.observability.request_context import find_context
from service.settings import Settings

MAX_BUFFERED = 10_000  # lines that wait while stderr is not read
FLUSH_S = 0.05  # between writes
CHUNK_BYTES = select.PIPE_BUF  # of one write: the most that a pipe takes undivided
END_S = 2.0  # for the last lines to be read
_NOISY = ("httpx", "alembic.runtime.plugins", "alembic.runtime.migration")
_RESERVED = frozenset({*RESERVED_ATTRS, "color_message"})
_BREAKING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

logger = logging.getLogger(__name__)


class JsonLines(JsonFormatter):
    """A JSON object: time, level, logger, message, and the fields of the line."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            reserved_attrs=sorted(_RESERVED),
            json_serializer=_json,
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Put the time before all other fields."""
        log_data["time"] = _time(record)
        super().add_fields(log_data, record, message_dict)

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        """Hide messages that may quote a request."""
        return _exception(ei[1])


class TextLines(logging.Formatter):
    """Time, level, logger, message, `name=value`; below it, indented, an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record on one line, followed by the lines of its exception."""
        fields: dict[str, Any] = merge_record_extra(record, {}, reserved=_RESERVED)
        text = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage().strip()}"
        line = _on_one_line(text + "".join(f" {name}={_value(value)}" for name, value in fields.items()))
        if record.exc_info and record.exc_info[1] is not None:
            line += "".join(f"\n    {_on_one_line(part)}" for part in _exception(record.exc_info[1]).splitlines())
        return line


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


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not re.search(r'[\s"=]', value):
        return value
    return _json(value)


def _json(value: Any, **_: Any) -> str:
    try:
        return to_json(value, fallback=str, inf_nan_mode="null").decode()
    except PydanticSerializationError:  # half of a surrogate pair is not Unicode
        return json.dumps(value, default=str)


def _on_one_line(text: str) -> str:
    return _BREAKING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _exception(error: BaseException | None) -> str:
    if error is None or find_context() is None:
        return "".join(traceback.format_exception(error)).rstrip()
    return "\n".join(_without_messages(error))


def _without_messages(error: BaseException) -> Iterator[str]:
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _without_messages(before)
    for part in traceback.format_tb(error.__traceback__):
        yield from part.rstrip().splitlines()
    ours = isinstance(error, ServiceError | AdapterError)
    yield f"{type(error).__module__}.{type(error).__qualname__}" + (f": {error}" if ours else "")
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from (f"  {line}" for line in _without_messages(inner))
