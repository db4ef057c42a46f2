"""Infer the type of a task from its labels, with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.config import TaskType
from service.train.data.labels.items import BARE_FLAGS, is_list_text
from service.train.data.labels.names import NameForm, is_missing
from service.train.data.labels.numbers import has_decimals, has_leading_zero, is_amount, is_number, num_decimals

AMOUNTS = ("score", "rating", "stars")  # columns whose numbers are more likely amounts than classes
FEW = 20  # up to this many different numbers are classes if each occurs twice or more
MOST = 0.9  # from this share of numbers on, another label is a mistake and not a class
SEVERAL = 0.05  # from this share of rows on, a separator stands between labels and not within a name
SHOWN = 3
MAX_SHOWN = 30  # characters of a label in a message


@dataclass(frozen=True)
class Guess:
    """A type, and the reason for it in one line, which names the option for another type."""

    type: TaskType
    because: str


def guess_type(values: Sequence[Any], column: str, num_classes: int) -> Guess:
    """Guess the type of the labels of a column; `num_classes` is the number of class names that are known."""
    filled = [value for value in values if not is_missing(value)]
    if any(isinstance(value, list) for value in filled):
        return Guess("multi_label", "the labels are lists")
    texts = [value for value in filled if isinstance(value, str)]
    if texts and all(is_list_text(text) for text in texts):
        return Guess("multi_label", f"the labels are lists in texts, such as {texts[0][:40]!r}")
    if texts and len(texts) == len(filled) and all(BARE_FLAGS.fullmatch(text) for text in texts):
        return Guess("multi_label", f"the labels are flags in texts, such as {texts[0][:40]!r}")
    for mark in separators(column):
        separated = [text for text in texts if mark in text]
        if separated and len(separated) >= SEVERAL * len(filled):
            return Guess(
                "multi_label",
                f"{len(separated):,} of {len(filled):,} labels have {mark!r} in them, such as {separated[0][:40]!r}; "
                "--type single_label takes each as the name of one class",
            )
    if num_classes:
        return Guess("single_label", f"whole numbers for {num_classes} named classes")
    numbers = [value for value in filled if is_number(value)]
    if numbers and len(numbers) >= MOST * len(filled):
        return _guess_from_numbers(numbers, column)
    return Guess("single_label", describe_values("text", filled))


def separators(column: str) -> tuple[str, ...]:
    """The separators that split labels of this column by default."""
    return ("|", ";") if _bare(column) == "labels" else ("|",)


def holds_amounts(column: str) -> bool:
    """Whether the column has a usual name of amounts: `Score`, `meta.rating`."""
    return _bare(column) in AMOUNTS


def _bare(column: str) -> str:
    return column.rpartition(".")[2].strip().lower()


def describe_values(noun: str, values: Sequence[Any]) -> str:
    """The number of different values, and the first of them."""
    different = list(dict.fromkeys(str(value).strip() for value in values))
    shown = ", ".join(repr(value[:MAX_SHOWN]) for value in different[:SHOWN])
    return f"{len(different):,} different {noun}{'s' if len(different) != 1 else ''}" + (
        f" such as {shown}" if shown else ""
    )


def _guess_from_numbers(numbers: Sequence[Any], column: str) -> Guess:
    different = {str(value).strip() for value in numbers}
    amounts = "--type regression for amounts"
    zero = next((value for value in numbers if has_leading_zero(value)), None)
    if zero is not None:
        return Guess("single_label", f"numbers with leading zeros such as {zero.strip()!r}, as codes have; {amounts}")
    if not any(has_decimals(value) for value in numbers):
        return Guess("single_label", f"{describe_values('whole number', numbers)}; {amounts}")
    scored = holds_amounts(column) and len(different) > 2
    if NameForm.of(numbers).whole and not scored:
        return Guess(
            "single_label",
            f"{describe_values('whole number', numbers)}, with a point as spreadsheets write them beside an empty "
            f"field; {amounts}",
        )
    amounted = any(is_amount(value) for value in numbers)
    counts, trailing = zip(*(num_decimals(value) for value in numbers), strict=True)
    if not amounted and any(trailing) and len(set(counts)) > 1:
        code = numbers[trailing.index(True)].strip()
        return Guess(
            "single_label", f"numbers of different length that end in 0 such as {code!r}, as versions do; {amounts}"
        )
    few = 1 < len(different) <= FEW and 2 * len(different) <= len(numbers)
    if few and not scored and not amounted:
        return Guess("single_label", f"{describe_values('number', numbers)}, few for {len(numbers):,} rows; {amounts}")
    return Guess("regression", f"{describe_values('number', numbers)}; --type single_label takes each as a class")
