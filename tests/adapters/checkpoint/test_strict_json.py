"""The strict JSON parser."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.checkpoint.strict_json import MAX_INTEGER, JsonFault, parse_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(values, st.booleans())
def test_reads_what_json_reads(value: Any, ascii_only: bool) -> None:
    """Ordinary values are read as Python's parser reads them."""
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only), max_depth=100, naturals_only=False) == value


@given(st.text(alphabet='[]{}",:\\u0019.eE+- \nNaInfity', max_size=60), st.booleans())
def test_raises_nothing_else(text: str, naturals_only: bool) -> None:
    """Any text is read or refused with JsonFault."""
    try:
        value = parse_json(text, max_depth=4, naturals_only=naturals_only)
    except JsonFault:
        return
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[[[1]]]]", "nesting"),
        ('{"a":{"b":{"c":{}}}}', "nesting"),
        ('["\\"[[[[",[[[1]]]]', "nesting"),
        ('{"a":1,"b":{"a":1,"\\u0061":1}}', "duplicate_key"),
        ("1.5", "float"),
        ("-1", "negative"),
        ("-0", "negative"),
        (str(MAX_INTEGER + 1), "large_integer"),
        ("9" * 10_000, "large_integer"),
        ("[NaN]", "not_a_number"),
        ("[-Infinity]", "not_a_number"),
        ("", "json"),
        ("[1", "json"),
        ('"\n"', "json"),
        ('"[[[[', "json"),
        ("\ufeff1", "json"),
    ],
)
def test_faults_of_naturals(text: str, fault: str) -> None:
    """Each violation has its own fault; brackets in strings do not count as nesting."""
    with pytest.raises(JsonFault) as caught:
        parse_json(text, max_depth=3, naturals_only=True)
    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [(str(-MAX_INTEGER - 1), "large_integer"), ("-1e999", "not_a_number"), ("NaN", "not_a_number")],
)
def test_faults_of_numbers(text: str, fault: str) -> None:
    """When fractions and negative numbers are allowed, large integers and NaN are still refused."""
    with pytest.raises(JsonFault) as caught:
        parse_json(text, max_depth=3, naturals_only=False)
    assert caught.value.fault == fault


def test_limits_pass() -> None:
    """The maximum nesting and the largest integers are accepted."""
    assert parse_json(f"[[[{MAX_INTEGER}]]]", max_depth=3, naturals_only=True) == [[[MAX_INTEGER]]]
    assert parse_json(f"[-{MAX_INTEGER}, -0.5]", max_depth=1, naturals_only=False) == [-MAX_INTEGER, -0.5]
