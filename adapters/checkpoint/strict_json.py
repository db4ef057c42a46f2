"""A JSON parser that refuses every text that two parsers may read differently."""

import json
import math
import re
from typing import Any, Literal, NoReturn

import numpy as np

MAX_INTEGER = 2**53  # parsers that store numbers as floats round larger integers
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)  # matches unterminated strings too, so that it is linear
_BRACKETS = re.compile(r"[][{}]+")

Fault = Literal["json", "nesting", "duplicate_key", "float", "negative", "large_integer", "not_a_number"]


class JsonFault(Exception):
    """A text is not strict JSON; `fault` is the kind of violation."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def parse_json(text: str, *, max_depth: int, naturals_only: bool) -> Any:
    """Parse a JSON text.

    Keys must be unique in each object after unescaping. Numbers must be finite, integers at most 2^53 in size; with
    `naturals_only` all numbers must be non-negative integers. Raises JsonFault, and no other exception, for any text.
    """
    if _depth(text) > max_depth:
        raise JsonFault("nesting", f"it is nested more than {max_depth} deep")

    def parse_int(digits: str) -> int:
        if naturals_only and digits[0] == "-":
            raise JsonFault("negative", f"the number {digits[:24]} is negative")
        # the length is checked first: int() is slow for very many digits
        if len(digits) > 15 and (len(digits) > 17 or abs(int(digits)) > MAX_INTEGER):
            raise JsonFault("large_integer", f"the number {digits[:24]} is larger than 2^53")
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
    """Count the nesting before parsing, so that the parser never recurses deeply."""
    brackets = np.frombuffer("".join(_BRACKETS.findall(_STRING.sub("", text))).encode(), dtype=np.uint8)
    opening = (brackets == ord("[")) | (brackets == ord("{"))
    return int(np.cumsum(np.where(opening, 1, -1)).max(initial=0))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise JsonFault("duplicate_key", f"the key {key[:60]!r} occurs twice in one object")
        result[key] = value
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise JsonFault("not_a_number", f"{name} is not a JSON number")
