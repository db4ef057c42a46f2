"""Formats of a log line: a JSON object, or text.

Control characters in a message are escaped, so that it stays on its line. Of an exception raised while a request is
handled, the log has type and traceback, but the message only if it is from this project: others may quote the request.
"""

import json
import logging
import re
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic_core import PydanticSerializationError, to_json
from pythonjsonlogger.core import RESERVED_ATTRS, merge_record_extra
from pythonjsonlogger.json import JsonFormatter

from adapters.errors import AdapterError
from service.errors import ServiceError
from service.observability.request_context import find_context

_RESERVED = frozenset({*RESERVED_ATTRS, "color_message"})
_BREAKING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


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
