"""Request bodies: read under limits on bytes and time, then parsed as JSON under a limit on the number of values.

FastAPI's own `max_body_size` answers in plain text and does not limit the time. A JSON value takes about 100 bytes and
100 ns to parse, and ten times that to validate: 2 MiB of `[[],[],...]` are 700,000 values.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from service.api.http.errors import BODY_HELP, validation_message
from service.errors import BodyCut, BodyTimeout, BodyTooLarge, InvalidInput, MalformedJson, UnsupportedMediaType
from service.settings import Settings

_Model = TypeVar("_Model", bound=BaseModel)
_RawHeaders = Iterable[tuple[bytes, bytes]]
_PLAIN = b"application/json"
_JSON = re.compile(rb"\s*application/([^\s;/]+\+)?json\s*(;.*)?", re.IGNORECASE | re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_VALUES_PER_INPUT, _VALUES_BESIDE = 4, 2048  # {"text": "a", "text_pair": "b"}, has 3; options, names, parameters
_HALF_A_PAIR = ("lone leading surrogate", "unexpected end of hex escape")


@dataclass(frozen=True)
class BodyLimits:
    """Limits on one request body."""

    max_bytes: int
    timeout_s: float | None  # None: the request's own deadline limits the time
    max_inputs: int = 0  # inputs of a prediction; bounds the number of JSON values

    @classmethod
    def from_settings(cls, settings: Settings, *, timed: bool = True) -> "BodyLimits":
        """Return the limits of a JSON body; `timed` False leaves the time to the caller."""
        return cls(settings.max_body_bytes, settings.body_timeout_s if timed else None, settings.max_inputs)


class JsonRequest(Request):
    """A request whose body has been read and parsed, so that FastAPI validates `value` without parsing it again."""

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._content, self._value = body, value

    async def body(self) -> bytes:
        """Return the bytes that were read."""
        return self._content

    async def json(self) -> Any:
        """Return the value that was parsed."""
        return self._value


async def read_body(request: Request, limits: BodyLimits) -> bytes:
    """Read the whole body.

    Raises BodyTooLarge by the declared or the received length, BodyTimeout, BodyCut when the client leaves, or the
    error that the connection has found in the body's framing.
    """
    take = getattr(getattr(request.receive, "__self__", None), "take_body", None)  # of service.server.connection
    if take is not None and (arrived := take()) is not None:
        if len(arrived) > limits.max_bytes:
            raise _too_large(limits)
        whole: bytes = arrived
        return whole
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > limits.max_bytes):
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.timeout_s):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise message.get("error") or BodyCut("the client left before its body was complete")
                body += message.get("body", b"")
                if len(body) > limits.max_bytes:
                    raise _too_large(limits)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise BodyTimeout(f"the body did not arrive within {limits.timeout_s:g} s (ADAKRON_BODY_TIMEOUT_S)") from None


def _too_large(limits: BodyLimits) -> BodyTooLarge:
    return BodyTooLarge(f"the body is over {limits.max_bytes} bytes (ADAKRON_MAX_BODY_BYTES, ADAKRON_MAX_UPLOAD_BYTES)")


def check_content_encoding(headers: _RawHeaders) -> None:
    """Raise UnsupportedMediaType if there is a Content-Encoding other than identity."""
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise UnsupportedMediaType("content_encoding", "send the body as it is, without Content-Encoding")


def check_json_headers(headers: _RawHeaders) -> None:
    """Raise UnsupportedMediaType for a Content-Encoding, InvalidInput for a Content-Type that is not JSON."""
    found: bytes | None = None
    for name, value in headers:
        if name == b"content-type":
            found = value if found is None else found
        elif name == b"content-encoding":
            check_content_encoding([(name, value)])
    given = found or b""
    if given != _PLAIN and not _JSON.fullmatch(given):
        raise InvalidInput(f"{BODY_HELP}, not {given.decode('latin-1')[:80]!r}" if given else BODY_HELP)


def parse_json(body: bytes, max_inputs: int) -> Any:
    """Parse `body`, which may have as many values as a request with `max_inputs` inputs needs.

    Raises MalformedJson, or InvalidInput when it is empty, has too many values or half a surrogate pair.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    max_values = _VALUES_PER_INPUT * max_inputs + _VALUES_BESIDE
    if len(body) > max_values and not _has_at_most(body, max_values):
        raise InvalidInput(
            f"the body has more than {max_values} values: a request may have {max_inputs} inputs (ADAKRON_MAX_INPUTS)"
        )
    if not body or body.isspace():
        raise InvalidInput(f"the body is empty: {BODY_HELP}")
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        if str(error).startswith(_HALF_A_PAIR):
            raise InvalidInput(f"a text is not valid Unicode: half a surrogate pair ({error})") from None
        raise MalformedJson(f"the body cannot be read as JSON: {error}") from None


def parse_model(model: type[_Model], body: bytes, max_inputs: int, inputs_help: str | None = None) -> _Model:
    """Parse and validate `body`; two passes are faster than `model_validate_json`.

    Raises what `parse_json` raises, and InvalidInput for the first fault; `inputs_help` says what the field `inputs`
    must be.
    """
    try:
        return model.model_validate(parse_json(body, max_inputs))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise InvalidInput(validation_message(("body", *first["loc"]), first, inputs_help)) from None


def parse_number(digits: str) -> int | None:
    """Return the number in a header field or parameter; None if it is not a number, or has more than 18 digits."""
    return int(digits) if len(digits) <= 18 and digits.isascii() and digits.isdigit() else None


def _has_at_most(body: bytes, max_values: int) -> bool:
    """Count commas and opening brackets outside of strings in a few passes, without parsing."""
    if _num_values(body) <= max_values:
        return True
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if bare.count(b'"') > 4 * max_values:  # a value has at most a key and a text, with two quotes each
        return False
    return _num_values(b"".join(bare.split(b'"')[::2])) <= max_values


def _num_values(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")
