"""Bodies in JSON: the number of their values is bounded before they are parsed, and the first fault alone is reported.

A value takes some 100 bytes and 100 ns to parse, and ten times that to validate: 2 MiB of `[[],[],...]` are 700,000.
"""

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from service.api.http.errors import BODY_HELP, validation_message
from service.errors import InvalidInput, MalformedJson, UnsupportedMediaType

_Model = TypeVar("_Model", bound=BaseModel)
_Headers = Iterable[tuple[bytes, bytes]]  # as ASGI has them
_PLAIN = b"application/json"
_JSON = re.compile(rb"\s*application/([^\s;/]+\+)?json\s*(;.*)?", re.IGNORECASE | re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_VALUES_PER_INPUT, _VALUES_BESIDE = 4, 2048  # {"text": "a", "text_pair": "b"}, has 3; options, names, parameters
_HALF_A_PAIR = ("lone leading surrogate", "unexpected end of hex escape")


def check_coding(headers: _Headers) -> None:
    """Raises UnsupportedMediaType for a Content-Encoding other than identity."""
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise UnsupportedMediaType("content_encoding", "send the body as it is, without Content-Encoding")


def check_head(headers: _Headers) -> None:
    """Raises UnsupportedMediaType for a Content-Encoding, InvalidInput for a Content-Type that is not JSON."""
    check_coding(headers)
    given = next((value for name, value in headers if name == b"content-type"), b"")
    if given != _PLAIN and not _JSON.fullmatch(given):
        raise InvalidInput(f"{BODY_HELP}, not {given.decode('latin-1')[:80]!r}" if given else BODY_HELP)


def read_json(body: bytes, max_inputs: int) -> Any:
    """The value in `body`, which may have as many values as a request with `max_inputs` inputs needs.

    Raises MalformedJson, InvalidInput.
    """
    body = _checked(body, max_inputs)
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        if str(error).startswith(_HALF_A_PAIR):
            raise InvalidInput(f"a text is not valid Unicode: half a surrogate pair ({error})") from None
        raise MalformedJson(f"the body cannot be read as JSON: {error}") from None


def read_model(model: type[_Model], body: bytes, max_inputs: int, inputs_help: str) -> _Model:
    """The request in `body`. Raises as `read_json` and `first_fault` do."""
    try:
        return model.model_validate_json(_checked(body, max_inputs))
    except ValidationError as error:
        read_json(body, max_inputs)  # has its own errors for what is no JSON
        raise first_fault(error, inputs_help) from None


def first_fault(error: ValidationError, inputs_help: str | None = None) -> InvalidInput:
    """The error for a value that was read and is no request; `inputs_help` says what its field `inputs` must be."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return InvalidInput(validation_message(("body", *first["loc"]), first, inputs_help))


def _checked(body: bytes, max_inputs: int) -> bytes:
    """`body` without a byte order mark. Raises InvalidInput where it is empty or has too many values."""
    if body.startswith(_BYTE_ORDER_MARK):
        body = body[len(_BYTE_ORDER_MARK) :]
    max_values = _VALUES_PER_INPUT * max_inputs + _VALUES_BESIDE
    if len(body) > max_values and not _has_at_most(body, max_values):
        raise InvalidInput(
            f"the body has more than {max_values} values: a request may have {max_inputs} inputs (ADAKRON_MAX_INPUTS)"
        )
    if not body or body.isspace():
        raise InvalidInput(f"the body is empty: {BODY_HELP}")
    return body


def _has_at_most(body: bytes, max_values: int) -> bool:
    """Whether at most `max_values` commas and opening brackets are outside of strings, by a few passes over `body`."""
    if _num_values(body) <= max_values:
        return True
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if bare.count(b'"') > 4 * max_values:  # a key and a text for each, two quotes for each
        return False
    return _num_values(b"".join(bare.split(b'"')[::2])) <= max_values


def _num_values(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")
