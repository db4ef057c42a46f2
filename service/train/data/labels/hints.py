"""Warnings about labels that can be read in two ways."""

import html
from collections import Counter
from collections.abc import Sequence
from typing import Any

from service.train.data.labels.items import BRACKETED, SEPARATORS, is_enclosed, is_list_text, split_text
from service.train.data.labels.names import BOOLEANS, class_order
from service.train.data.labels.numbers import has_leading_zero, is_amount, is_number, num_decimals
from service.train.data.labels.scheme import LabelScheme
from service.train.data.labels.task_type import holds_amounts
from service.train.data.table import Table

MANY = 10  # whole numbers that are more likely amounts than classes
STRAY = 0.1  # share of labels that are no numbers below which they look like slips
COMBINED = 0.05  # share of labels that other labels are parts of, from which they look like several
CROWDED = 1.5  # rows per class below which a column looks like one of identifiers
NO_NAMES = frozenset(
    {
        "nan",
        "none",
        "null",
        "nil",
        "n/a",
        "#n/a",
        "#ref!",
        "#value!",
        "#name?",
        "#div/0!",
        "#num!",
        "na",
        "<na>",
        "nat",
        "-",
        "?",
    }
)


def describe_brackets(table: Table, scheme: LabelScheme) -> list[str]:
    """A note where names of classes stand in brackets, as lists of labels do."""
    example = next((name for name in scheme.names if BRACKETED.fullmatch(name) and not is_list_text(name)), None)
    if example is None:
        return []
    return [
        f"{table.name}: label {example[:40]!r} in column {scheme.column} is read as one name, brackets included; "
        f"write {[part.strip() for part in example.strip('[] ')[:40].split(',')]} for a list of labels"
    ]


def describe_objects(table: Table, scheme: LabelScheme) -> list[str]:
    """A warning where names of classes are JSON objects in texts, as a CSV export writes them."""
    example = next((name for name in scheme.names if name.startswith("{") and name.endswith("}") and ":" in name), None)
    if example is None:
        return []
    return [
        f"{table.name}: label {example[:40]!r} in column {scheme.column} is an object in a text, taken for a name as "
        "it is; write the label alone"
    ]


def describe_numbers(table: Table, scheme: LabelScheme, values: Sequence[Any]) -> list[str]:
    """Warnings where classes look like amounts, have lost zeros, or where a few are no numbers."""
    if scheme.type != "single_label" or scheme.given or scheme.column in table.class_names:
        return []
    names, column = scheme.names, scheme.column
    numbers = [name for name in names if is_number(name)]
    if len(numbers) < len(names):
        return _describe_stray(table, column, values)
    warnings = []
    kind = "whole numbers" if scheme.form.whole else "numbers"
    coded = any(has_leading_zero(name) or num_decimals(name)[1] for name in names)  # they are no amounts
    if not (scheme.form.whole or coded) or len(names) >= (3 if holds_amounts(column) else MANY):
        warnings.append(
            f"{table.name}: each of the {len(names)} {kind} in column {column} is a class of its own; --type "
            "regression learns them as amounts"
        )
    if not scheme.form.whole and any(isinstance(value, float) for value in values):
        warnings.append(
            f"{table.name}: numbers without quotes in column {column} have lost their last zeros, 1.10 is 1.1; codes "
            "and versions need quotes"
        )
    return warnings


def _describe_stray(table: Table, column: str, values: Sequence[Any]) -> list[str]:
    strange = [index for index, value in enumerate(values) if not is_number(value)]
    if not 0 < len(strange) <= STRAY * len(values):
        return []
    number, _ = table.records[strange[0]]
    return [
        f"{table.place(number)}: label {str(values[strange[0]])[:40]!r} is no number; such labels in column {column}, "
        f"where all others are: {len(strange):,} of {len(values):,}; correct it if it is a slip"
    ]


def describe_separators(
    table: Table, scheme: LabelScheme, cells: Sequence[tuple[int, Any]], usual: Sequence[str]
) -> list[str]:
    """A warning where labels of a single-label task look like several: with `usual` separators, or known parts."""
    if scheme.type != "single_label":
        return []
    texts = [(number, value) for number, value in cells if isinstance(value, str)]
    for mark in SEPARATORS:
        marked = [(number, text) for number, text in texts if mark in html.unescape(text)]
        if not marked:
            continue
        parts = Counter(part for _, text in texts for part in set(split_text(text, mark)))
        known = [
            (number, text)
            for number, text in marked
            if len(labels := split_text(text, mark)) > 1 and all(parts[part] > 1 for part in labels)
        ]
        told = marked if mark in usual else known if len(known) >= COMBINED * len(texts) else []
        if told:
            number, text = told[0]
            remedy = "--type multi_label takes them for several labels"
            if is_enclosed(text):
                remedy = "write ['a', 'b'] or a|b for several labels"
            return [
                f"{table.place(number)}: label {text[:40]!r} is taken for the name of one class; labels with {mark!r} "
                f"that are: {len(told):,} of {len(texts):,}; {remedy}"
            ]
    return []


def describe_repeats(table: Table, column: str, values: Sequence[Any]) -> list[str]:
    """A warning where the numbers of a regression repeat, as codes such as 428.0 do, in a column of any name."""
    different = len({str(value).strip() for value in values})
    if holds_amounts(column) or 2 * different > len(values) or any(is_amount(value) for value in values):
        return []
    return [
        f"{table.name}: the {different:,} different numbers in column {column} are learnt as amounts; --type "
        "single_label learns each as a class, if they are codes"
    ]


def describe_booleans(table: Table, scheme: LabelScheme) -> list[str]:
    """A warning where 0 and 1 are classes beside true and false."""
    names = [name for name in scheme.names if name.lower() in BOOLEANS | {"0", "1"}]
    if scheme.given or not BOOLEANS & {name.lower() for name in names} or not {"0", "1"} & set(names):
        return []
    return [
        f"{table.name}: {' and '.join(map(repr, names))} in column {scheme.column} are classes apart; write true and "
        "false alike in all rows"
    ]


def describe_count(table: Table, scheme: LabelScheme) -> list[str]:
    """A warning where there are nearly as many classes as rows, as in a column of identifiers."""
    count, rows = len(scheme.names), len(table.records)
    if scheme.type != "single_label" or scheme.given or count <= MANY or CROWDED * count <= rows:
        return []
    return [
        f"{table.name}: column {scheme.column} has {count:,} different labels in {rows:,} rows, few to learn each "
        "from; is it the right column (--label-column)?"
    ]


def describe_missing(table: Table, scheme: LabelScheme, counts: Counter[str]) -> list[str]:
    """A warning where a class is named as programs write a missing value."""
    names = sorted((name for name in counts if name.lower() in NO_NAMES), key=class_order)
    if not names or scheme.given or scheme.column in table.class_names:
        return []
    listed = ", ".join(f"{name!r} ({counts[name]:,})" for name in names)
    return [
        f"{table.name}: {listed} in column {scheme.column} is a class of its own; remove its rows if it stands for a "
        "missing label"
    ]
