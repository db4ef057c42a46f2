"""JSON that has one meaning only: whatever two parsers may read differently is refused."""

import json
import math
import re
from typing import Any, Literal, NoReturn

import numpy as np

MAX_INTEGER = 2**53  # beyond it a parser that keeps numbers as floats reads another one
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)  # an open one counts too: linear in any text
_BRACKETS = re.compile(r"[][{}]+")

Fault = Literal["json", "nesting", "duplicate_key", "float", "negative", "large_integer", "not_a_number"]


class JsonFault(Exception):
    """A text is not strict JSON; `fault` says in which way."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def parse_json(text: str, *, max_depth: int, naturals_only: bool) -> Any:
    """The value of a JSON text.

    Keys are unique in each object, once unescaped. Numbers are finite, integers at most 2^53 in size; with
    `naturals_only` they are integers from 0. Raises JsonFault, and nothing else for any text.
    """
    if _depth(text) > max_depth:
        raise JsonFault("nesting", f"it is nested more than {max_depth} deep")

    def parse_int(digits: str) -> int:
        if naturals_only and digits[0] == "-":
            raise JsonFault("negative", f"the number {digits[:24]} is negative")
        # by length first: making an int of very many digits is slow
        if len(digits) > 15 and (len(digits) > 17 or abs(int(digits)) > MAX_INTEGER):
            raise JsonFault("large_integer", f"the number {digits[:24]} is beyond 2^53")
        return int(digits)

    def parse_float(digits: str) -> float:
        if naturals_only:
            raise JsonFault("float", f"the number {digits[:24]} is not written as an integer")
        if math.isinf(value := float(digits)):
            raise JsonFault("not_a_number", f"the number {digits[:24]} is too large for a float")
        return value

    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=parse_int,
            parse_float=parse_float,
            parse_constant=_refuse_constant,
        )
    except ValueError as error:
        raise JsonFault("json", f"it is not JSON: {error}") from None


def _depth(text: str) -> int:
    """Counted before parsing, so that no parser has to recurse into what is far too deep."""
    brackets = np.frombuffer("".join(_BRACKETS.findall(_STRING.sub("", text))).encode(), dtype=np.uint8)
    opening = (brackets == ord("[")) | (brackets == ord("{"))
    return int(np.cumsum(np.where(opening, 1, -1)).max(initial=0))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise JsonFault("duplicate_key", f"the key {key[:60]!r} stands twice in one object")
        result[key] = value
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise JsonFault("not_a_number", f"{name} is no JSON number")
