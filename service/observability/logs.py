"""Logs: one line each on stderr, as text for people or as JSON for machines, with the request that it belongs to.

Whatever a message holds, it stays on its line. Of an exception met while a request is answered, only what this program
wrote on purpose is shown beside its type and place: any other message might quote the request.
"""

import json
import logging
import re
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic_core import PydanticSerializationError, to_json
from pythonjsonlogger.core import RESERVED_ATTRS, merge_record_extra
from pythonjsonlogger.json import JsonFormatter

from adapters.errors import AdapterError
from service.errors import ServiceError
from service.observability.request_context import find_context
from service.settings import Settings

MAX_WAITING = 10_000  # lines, while nobody reads stderr
GATHER_S = 0.05  # that a line waits for others
END_S = 2.0  # for the last lines, where nobody reads
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
        """The time before all others."""
        log_data["time"] = _time(record)
        super().add_fields(log_data, record, message_dict)

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        """As the module says."""
        return _exception(ei[1])


class TextLines(logging.Formatter):
    """Time, level, logger, message, `name=value`; below it, further to the right, an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """On one line, but for the exception."""
        fields: dict[str, Any] = merge_record_extra(record, {}, reserved=_RESERVED)
        text = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage().strip()}"
        line = _on_one_line(text + "".join(f" {name}={_value(value)}" for name, value in fields.items()))
        if record.exc_info and record.exc_info[1] is not None:
            line += "".join(f"\n    {_on_one_line(part)}" for part in _exception(record.exc_info[1]).splitlines())
        return line


@contextmanager
def to_stderr(settings: Settings) -> Iterator[None]:
    """While inside, everything that is logged in this process goes there. Nobody waits for whoever reads it."""
    hooks = threading.excepthook, sys.unraisablehook
    _catch_what_python_prints()
    writer = _Writer()
    try:
        with written_by(writer, settings):
            yield
    finally:
        logging.captureWarnings(False)
        threading.excepthook, sys.unraisablehook = hooks
        writer.close()


def to_stderr_at_once(settings: Settings) -> None:
    """The same for a process that has no event loop to hold up, to its end."""
    _catch_what_python_prints()
    _start(logging.StreamHandler(sys.stderr), settings)


@contextmanager
def written_by(handler: logging.Handler, settings: Settings) -> Iterator[None]:
    """While inside, `handler` gets every line that `settings` let pass, in their format."""
    level = logging.root.level
    _start(handler, settings)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)
        logging.root.setLevel(level)


def _start(handler: logging.Handler, settings: Settings) -> None:
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    handler.addFilter(_of_request)
    logging.root.addHandler(handler)
    logging.root.setLevel(settings.log_level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _catch_what_python_prints() -> None:
    logging.captureWarnings(True)
    threading.excepthook = lambda met: logger.error("a thread has ended", exc_info=met.exc_value or True)
    sys.unraisablehook = lambda met: logger.error("an exception that nobody gets", exc_info=met.exc_value or True)


class _Writer(logging.Handler):
    """Lines are written by a thread, all that have come at once: a wake-up and a system call for each cost more than
    everything else about them. Where nobody reads, the newest are lost, and counted."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque()
        self._num_lost = 0
        self._come, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Without waiting."""
        if len(self._lines) >= MAX_WAITING:
            self._num_lost += 1
            return
        try:
            line = self.format(record)
        except Exception:  # whoever logs must not fail for it; the arguments may be a client's, and are not shown
            told = {"name": record.name, "levelname": record.levelname, "msg": "a line could not be written"}
            line = self.format(logging.makeLogRecord(told))
        self._lines.append(line + "\n")
        if not self._come.is_set():
            self._come.set()

    def close(self) -> None:
        """Write what has come, or give it up where nobody reads it."""
        self._ended.set()
        self._come.set()
        self._thread.join(END_S)
        super().close()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._come.wait()
            self._ended.wait(GATHER_S)
            self._come.clear()
            self._write()
        while self._lines:  # what came while the last ones were written
            self._write()

    def _write(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        num_lost, self._num_lost = self._num_lost, 0
        try:
            sys.stderr.write("".join(lines))
            sys.stderr.flush()
        except (OSError, ValueError):  # closed: there is nobody to tell
            return
        if num_lost:
            logger.warning("%d lines after this were lost: stderr was not read", num_lost)


def _of_request(line: logging.LogRecord) -> bool:
    if (record := find_context()) is not None:
        line.request_id = record.request_id
        if record.trace_id is not None:
            line.trace_id, line.span_id = record.trace_id, record.span_id
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
    except PydanticSerializationError:  # half of an emoji is no Unicode
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
