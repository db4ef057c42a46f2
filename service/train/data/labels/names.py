"""Names of labels: cleaning, comparison, and merging of spellings."""

import html
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from adapters.backbone.text_encoder import is_blank
from adapters.config import MAX_LABEL_CHARS, is_label_text
from service.train.data.table import Table
from service.train.errors import DataError

INVISIBLE = re.compile(
    "[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202c\u2060\u2066-\u2069\ufeff]"
)  # soft hyphen, direction marks, zero-width characters
WHOLE = re.compile(
    r"(-?(?:0|[1-9][0-9]{0,199}))(?:\.0+)?"
)  # 7; or 7.0, as pandas writes it in a column with empty fields
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
BOOLEANS = frozenset({"true", "false"})
_SELECTORS = re.compile(
    "[\u200c\u200d\ufe00-\ufe0f]|(?<=i)\u0307"
)  # joiners, variation selectors, the dot of a Turkish I
_WORD_BREAK = re.compile(r"(?<=[^\W\d_])[-_]+(?=[^\W\d_])")  # not-spam and not_spam, but 1-2 is not 1 2
_QUOTES = "\"'`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb "
_CYRILLIC = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455", "abekmhopctyxijs"
)
EXACT = 2**53  # a float holds every whole number up to here


@dataclass(frozen=True)
class NameForm:
    """The way in which the names of a column are written, so that a label has the same name in every file."""

    whole: bool = False  # every label is a whole number: 1.0 is 1
    boolean: bool = False  # every label is true or false: True is true

    @classmethod
    def of(cls, values: Iterable[Any]) -> "NameForm":
        """Find the form of a column with these labels."""
        whole = boolean = True
        for value in values:
            whole = whole and _is_whole(value)
            boolean = boolean and _is_boolean(value)
        return cls(whole=whole and not boolean, boolean=boolean)


def name_of(table: Table, number: int, value: Any, form: NameForm) -> str:
    """The name of a label. Raises DataError if it is missing, not a text or a number, or has control characters."""
    if is_missing(value):
        if isinstance(value, str) and value.strip():
            raise DataError(f"{table.place(number)}: label {value[:40]!r} has no visible character; write a name")
        raise DataError(f"{table.place(number)}: the label is missing; remove the row, or fill it in")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        fields = ", ".join(str(field)[:40] for field in list(value)[:5])
        raise DataError(
            f"{table.place(number)}: the label is an object; name the field in it that is the label ({fields}) with "
            "--label-column COLUMN.FIELD, or fields of 0 and 1 with --label-columns COLUMN.FIELD,COLUMN.FIELD"
        )
    if not isinstance(value, str | int | float) or (isinstance(value, float) and math.isinf(value)):
        what = value if isinstance(value, float) else type(value).__name__
        raise DataError(
            f"{table.place(number)}: a label must be a text or a number, not {what}; correct it, or name the right "
            "column (--label-column)"
        )
    name = clean_name(str(value))
    if len(name) > MAX_LABEL_CHARS:
        raise DataError(
            f"{table.place(number)}: label {name[:40]!r}... has {len(name):,} characters, at most {MAX_LABEL_CHARS} "
            "are possible; is it the right column (--label-column)?"
        )
    if not is_label_text(name):
        odd = next(char for char in name if not is_label_text(char))
        raise DataError(f"{table.place(number)}: label {name[:40]!r} holds the control character {odd!a}; remove it")
    if form.boolean and name.lower() in BOOLEANS:
        return name.lower()
    if form.whole and (match := WHOLE.fullmatch(name)):
        return match[1]
    return name


@lru_cache(maxsize=4096)
def clean_name(text: str) -> str:
    """Return the label in Unicode's composed form (NFC), with plain spaces and without invisible characters."""
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in INVISIBLE.sub("", text))
    return unicodedata.normalize("NFC", spaced).strip(" \t\r\n\u200c\u200d")


def is_label(name: str) -> bool:
    """Whether an adapter file may hold the name."""
    return not is_blank(name) and len(name) <= MAX_LABEL_CHARS and is_label_text(name)


def loose_name(name: str) -> str:
    """The form that near-equal spellings share: `Spam`, `spam` and full-width letters; `a  b`, `a_b` and `a b`.

    It ignores joiners and variation selectors, quotes around a name and punctuation after it; Cyrillic letters that
    look like Latin ones become these.
    """
    loose = _SELECTORS.sub("", plain_name(name)).translate(_CYRILLIC)
    loose = " ".join(_WORD_BREAK.sub(" ", loose).split())
    return loose.strip(_QUOTES).rstrip(".,;:!") or loose


def plain_name(name: str) -> str:
    """The name without differences of case, width, white space and HTML escapes (`a &amp; b`)."""
    return " ".join(unicodedata.normalize("NFKC", html.unescape(name)).casefold().split())


def is_missing(value: Any) -> bool:
    """Whether the label is missing: null, NaN, or a text of only white space and invisible characters."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and is_blank(value))


def class_order(name: str) -> tuple[int, float, str]:
    """Sort key of names: numbers by their value, then texts by their characters."""
    return (0, float(name), name) if DECIMAL.fullmatch(name) else (1, 0, name)


def class_index(value: Any, *, texts: bool) -> int | None:
    """The class index that a label states, or None; with `texts`, the text "2" of a CSV file is one."""
    if isinstance(value, str):
        name = value.strip().lower()
        if not texts or name in BOOLEANS:
            return int(name == "true") if texts else None
        match = WHOLE.fullmatch(name)
        return int(match[1]) if match else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return int(value) if isinstance(value, int) else None


def _is_whole(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer() and abs(value) <= EXACT
    if isinstance(value, str):
        return WHOLE.fullmatch(clean_name(value)) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and clean_name(value).lower() in BOOLEANS)


SHOWN = 3  # groups in a warning


def near_equal(counts: Counter[str]) -> list[list[str]]:
    """Groups of names that differ only in case, spaces and the like; the most frequent spelling is the first."""
    groups = defaultdict(list)
    for name in counts:
        groups[loose_name(name)].append(name)
    return [
        sorted(names, key=lambda name: (-counts[name], class_order(name)))
        for names in groups.values()
        if len(names) > 1
    ]


def merge(counts: Counter[str]) -> dict[str, str]:
    """Map the loose form of each name to its most frequent spelling."""
    return {loose_name(name): name for name in counts} | {
        loose_name(names[0]): names[0] for names in near_equal(counts)
    }


def describe_spellings(name: str, counts: Counter[str], merged: Mapping[str, str]) -> list[str]:
    """Warn of names in the file `name` that look alike: they are different classes, or were merged."""
    groups = near_equal(counts)
    if not groups:
        return []
    listed = "; ".join(
        " and ".join(f"{_show(spelling, group)} ({_rows(counts[spelling])})" for spelling in group)
        for group in groups[:SHOWN]
    )
    more = f" and {len(groups) - SHOWN:,} more" if len(groups) > SHOWN else ""
    if merged:
        return [f"{name}: --merge-spellings merges these labels into the first: {listed}{more}"]
    return [
        f"{name}: labels that look alike are different classes: {listed}{more}; --merge-spellings "
        "merges them into the most frequent one"
    ]


def _show(spelling: str, group: list[str]) -> str:
    """The name in quotes; with escapes if two names of the group differ only in characters that look alike."""
    return repr(spelling) if len(set(map(plain_name, group))) == 1 else ascii(spelling)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"
