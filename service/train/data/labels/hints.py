"""Warnings about labels that may mean something else than they are taken for."""

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

MANY = 10  # from this many on, whole numbers are more likely amounts than classes
STRAY = 0.1  # up to this share, labels that are not numbers look like mistakes
COMBINED = 0.05  # from this share on, labels made of other labels look like several labels
CROWDED = 1.5  # with fewer rows per class, a column looks like identifiers
MISSING_NAMES = frozenset(
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
    """Warn of class names in brackets, which may be meant as lists of labels."""
    example = next((name for name in scheme.names if BRACKETED.fullmatch(name) and not is_list_text(name)), None)
    if example is None:
        return []
    return [
        f"{table.name}: label {example[:40]!r} in column {scheme.column} is read as one name, brackets included; "
        f"write {[part.strip() for part in example.strip('[] ')[:40].split(',')]} for a list of labels"
    ]


def describe_objects(table: Table, scheme: LabelScheme) -> list[str]:
    """Warn of class names that are JSON objects in a text, as CSV exports write them."""
    example = next((name for name in scheme.names if name.startswith("{") and name.endswith("}") and ":" in name), None)
    if example is None:
        return []
    return [
        f"{table.name}: label {example[:40]!r} in column {scheme.column} is an object in a text, and is used as a "
        "name; write the label alone"
    ]


def describe_numbers(table: Table, scheme: LabelScheme, values: Sequence[Any]) -> list[str]:
    """Warn of classes that look like amounts or have lost zeros, and of a few labels that are not numbers."""
    if scheme.type != "single_label" or scheme.given or scheme.column in table.class_names:
        return []
    names, column = scheme.names, scheme.column
    numbers = [name for name in names if is_number(name)]
    if len(numbers) < len(names):
        return _describe_stray(table, column, values)
    warnings = []
    kind = "whole numbers" if scheme.form.whole else "numbers"
    coded = any(has_leading_zero(name) or num_decimals(name)[1] for name in names)  # codes, not amounts
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
        f"{table.place(number)}: label {str(values[strange[0]])[:40]!r} is not a number, unlike most labels; such "
        f"labels in column {column}: {len(strange):,} of {len(values):,}; correct it if it is a mistake"
    ]


def describe_separators(
    table: Table, scheme: LabelScheme, cells: Sequence[tuple[int, Any]], usual: Sequence[str]
) -> list[str]:
    """Warn if labels of a single-label task look like several: with `usual` separators, or made of known labels."""
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
            remedy = "--type multi_label splits them into several labels"
            if is_enclosed(text):
                remedy = "write ['a', 'b'] or a|b for several labels"
            return [
                f"{table.place(number)}: label {text[:40]!r} is taken as the name of one class; such labels "
                f"with {mark!r}: {len(told):,} of {len(texts):,}; {remedy}"
            ]
    return []


def describe_repeats(table: Table, column: str, values: Sequence[Any]) -> list[str]:
    """Warn if the numbers of a regression repeat as codes such as 428.0 do."""
    different = len({str(value).strip() for value in values})
    if holds_amounts(column) or 2 * different > len(values) or any(is_amount(value) for value in values):
        return []
    return [
        f"{table.name}: the {different:,} different numbers in column {column} are learnt as amounts; --type "
        "single_label learns each as a class, if they are codes"
    ]


def describe_booleans(table: Table, scheme: LabelScheme) -> list[str]:
    """Warn if 0 and 1 are classes beside true and false."""
    names = [name for name in scheme.names if name.lower() in BOOLEANS | {"0", "1"}]
    if scheme.given or not BOOLEANS & {name.lower() for name in names} or not {"0", "1"} & set(names):
        return []
    return [
        f"{table.name}: {' and '.join(map(repr, names))} in column {scheme.column} are different classes; write true "
        "and false in the same way in all rows"
    ]


def describe_count(table: Table, scheme: LabelScheme) -> list[str]:
    """Warn if there are nearly as many classes as rows, as in a column of identifiers."""
    count, rows = len(scheme.names), len(table.records)
    if scheme.type != "single_label" or scheme.given or count <= MANY or CROWDED * count <= rows:
        return []
    return [
        f"{table.name}: column {scheme.column} has {count:,} different labels in {rows:,} rows, few to learn each "
        "from; is it the right column (--label-column)?"
    ]


def describe_missing(table: Table, scheme: LabelScheme, counts: Counter[str]) -> list[str]:
    """Warn if a class has a name that programs write for a missing value."""
    names = sorted((name for name in counts if name.lower() in MISSING_NAMES), key=class_order)
    if not names or scheme.given or scheme.column in table.class_names:
        return []
    listed = ", ".join(f"{name!r} ({counts[name]:,})" for name in names)
    return [
        f"{table.name}: {listed} in column {scheme.column} is a class of its own; remove its rows if it stands for a "
        "missing label"
    ]
