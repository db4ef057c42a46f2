"""Mutations of JSON: tokens, values and spelling."""

import copy
import json
import random
import re
from typing import Any

Json = Any
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+0-9.eE]+|[A-Za-z]+|[^\s]', re.DOTALL)
TOKENS = (
    b'"__metadata__"', b'"adakron"', b'"dtype"', b'"shape"', b'"data_offsets"', b'"F32"', b'"F16"', b'"BF16"',
    b'"head.bias"', b'"head.weight"', b'"layers.0.up.weight"', b'"layers.1.up.bias"', b'"\\ud800"', b'"\\u0000"', b'""',
    b"{", b"}", b"[", b"]", b",", b":", b"[[[[[", b"{}", b"[]", b"true", b"false", b"null", b"NaN", b"-Infinity",
    b"0", b"-0", b"-1", b"1", b"2", b"4", b"8", b"1.0", b"1e3", b"9007199254740993", b"18446744073709551616", b"007",
)  # fmt: skip
VALUES: tuple[Json, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 4, 8, 16, 2**31, 2**32, 2**53, 2**53 + 1, 2**64, 10**400, 0.5, 1.0, -0.0, 1e300,
    float("nan"), float("inf"), "", "a", "F32", "F16", "F64", "gelu", "cls", "mean", "regression", "multi_label",
    "\ud800", "\u202e", "ü", "x" * 201, [], {}, [0], [1], [0, 1], [1, 0], ["a"], ["a", "b"], ["a", "a"], {"a": 1},
    [[[[[[[[[]]]]]]]]], {"a": {"a": {"a": {"a": {"a": {}}}}}},
)  # fmt: skip


def change_tokens(rng: random.Random, raw: bytes) -> bytes:
    """Replace, insert, delete or swap tokens."""
    tokens = TOKEN.findall(raw)
    for _ in range(rng.randint(1, 2)):
        at, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        kind = rng.randrange(5)
        if kind == 0:
            tokens[at] = rng.choice(TOKENS)
        elif kind == 1:
            tokens[at] = tokens[other]
        elif kind == 2:
            tokens.insert(at, rng.choice(TOKENS))
        elif kind == 3:
            del tokens[at]
        else:
            tokens[at], tokens[other] = tokens[other], tokens[at]
    return b"".join(tokens)


def change_spaces(rng: random.Random, raw: bytes) -> bytes:
    """Insert white space, mostly valid, between or around the tokens."""
    tokens = TOKEN.findall(raw)
    space = rng.choice((b" ", b"\n", b"\t", b"\r\n", b"  ", b"\x0b", b"\xc2\xa0", b"\0"))
    for _ in range(rng.randint(1, 8)):
        tokens.insert(rng.randrange(len(tokens) + 1), space)
    return b"".join(tokens)


def change_value(rng: random.Random, value: Json) -> None:
    """Change an object or a list in place, mostly at an inner level."""
    items = value.values() if isinstance(value, dict) else value
    inner = [item for item in items if item and isinstance(item, dict | list)]
    if inner and rng.randrange(4):
        change_value(rng, rng.choice(inner))
        return
    places = list(value) if isinstance(value, dict) else list(range(len(value)))
    place, kind = rng.choice(places), rng.randrange(6)
    if kind == 0:
        del value[place]
    elif kind == 1 and isinstance(value, dict):
        value[rng.choice((f"{place}x", place.upper(), "", "a\0", "\ud800", "ü", rng.choice(places)))] = value[place]
    elif kind == 2 and type(value[place]) in (int, float):
        value[place] += rng.choice((-4, -2, -1, 1, 2, 4))
    elif kind == 3 and isinstance(value[place], str):
        value[place] += rng.choice(("a", " ", "\n", "é", "\ud800", "😀"))
    else:
        value[place] = copy.deepcopy(rng.choice((*VALUES, value[rng.choice(places)])))


def spell(rng: random.Random, value: Json) -> str:
    """Write `value` as JSON with random white space, escapes and key order, and rarely a duplicate key."""
    if isinstance(value, dict):
        pairs = list(value.items())
        if rng.randrange(8) == 0:
            rng.shuffle(pairs)
        if pairs and rng.randrange(200) == 0:
            pairs.append(rng.choice(pairs))
        return "{" + _comma(rng).join(f"{_string(rng, key)}:{spell(rng, item)}" for key, item in pairs) + "}"
    if isinstance(value, list):
        return "[" + _comma(rng).join(spell(rng, item) for item in value) + "]"
    if isinstance(value, str):
        return _string(rng, value)
    if type(value) is int and rng.randrange(300) == 0:
        return rng.choice((f"{value}.0", f"{value}e0", f"0{value}", f"+{value}", f'"{value}"'))
    return json.dumps(value)


def _comma(rng: random.Random) -> str:
    return rng.choice((",", ",", ",", ", ", ",\n", " ,"))


def _string(rng: random.Random, text: str) -> str:
    if rng.randrange(6):
        return json.dumps(text, ensure_ascii=bool(rng.randrange(4)))
    escaped = "".join(
        f"\\u{ord(char):04x}" if ord(char) < 2**16 and not rng.randrange(4) else json.dumps(char)[1:-1] for char in text
    )
    return f'"{escaped}"'
