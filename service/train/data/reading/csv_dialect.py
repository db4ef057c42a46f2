"""Find the delimiter of a CSV or TSV file: the one by which its lines, and not only its header, have equal fields."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from service.train.data.columns import RECOGNISED
from service.train.data.reading.text import END, iterate_lines

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
NUM_SAMPLED = 200  # records that decide the dialect
_EXCELS_LINE = re.compile(rf'"?sep=([^\w"\r\n])"?[ \t]*{END}', re.IGNORECASE)

# The limit applies to the whole process. It is set once and never restored, because another thread may be reading.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Dialect:
    """How the fields of a record are separated."""

    delimiter: str
    quotes: bool = True  # quotes may enclose a field; otherwise they are plain characters
    spaces: bool = False  # spaces may precede the opening quote of a field
    start: int = 0  # position of the header in the text
    first_line: int = 1  # its line number


def find_dialect(name: str, text: str, usual: str) -> tuple[Dialect, list[str]]:
    """Return the dialect of a text with a header, and notes about the guess; `usual` is the ending's delimiter.

    A first line `sep=;`, as Excel writes it, decides. Otherwise the delimiter is the one by which most of the first
    records have as many fields as the header. Among several, one that finds columns of known names wins, then `usual`.
    """
    if match := _EXCELS_LINE.match(text):
        return Dialect(match[1], spaces=_has_spaces(text, match[1]), start=match.end(), first_line=2), []
    scores = {mark: _score(text, mark) for mark in (usual, *DELIMITERS)}
    best = max(scores, key=lambda mark: scores[mark])  # the usual one comes first and wins a tie
    if scores[best] == (0.0, 0):
        best = usual
    notes = []
    if best != usual:
        notes.append(f"{name}: read with {DELIMITERS[best]} between the fields, as in its lines")
    for mark, score in scores.items():
        if mark != best and score[0] == scores[best][0] > 0:
            notes.append(
                f"{name}: {DELIMITERS[mark]} could separate its fields, too; {DELIMITERS[best]} are used "
                f"(a first line sep={'TAB' if mark == chr(9) else mark} changes that)"
            )
    return Dialect(best, spaces=_has_spaces(text, best)), notes


def split_records(text: str, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the fields of each record. Raises QuoteError if quotes do not enclose fields."""
    lines = iterate_lines(text, dialect.start)
    if not dialect.quotes:
        for number, line in enumerate(lines, start=dialect.first_line):
            yield number, line.rstrip("\r\n").split(dialect.delimiter)
        return
    reader = csv.reader(lines, delimiter=dialect.delimiter, strict=True, skipinitialspace=dialect.spaces)
    while True:
        first = dialect.first_line + reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise QuoteError(first, str(error)) from None
        yield first, row


class QuoteError(Exception):
    """Quotes do not enclose fields in the record that begins on `line`."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _score(text: str, delimiter: str) -> tuple[float, int]:
    """Return the share of the first records with as many fields as the header, and the number of known column names.

    Tabs are also tried without quotes, because many TSV files do not use them.
    """
    readings = [csv.reader(iterate_lines(text), delimiter=delimiter)]
    counted = [_count(row for row in reading if any(field.strip() for field in row)) for reading in readings]
    if delimiter == "\t":
        counted.append(_count(line.rstrip("\r\n").split("\t") for line in iterate_lines(text) if line.strip()))
    return max(counted)


def _count(rows: Iterator[list[str]]) -> tuple[float, int]:
    header = next(rows, [])
    if len(header) < 2:
        return 0.0, 0
    widths = [len(row) for row in islice(rows, NUM_SAMPLED)]
    known = sum(name.strip().lower() in RECOGNISED for name in header)
    return sum(width == len(header) for width in widths) / max(1, len(widths)), known


def _has_spaces(text: str, delimiter: str) -> bool:
    """Whether a space precedes the quotes that enclose fields: `a, "b"`."""
    if re.search(rf'{re.escape(delimiter)} +"', text) is None:
        return False
    plain, spaced = (
        list(islice(csv.reader(iterate_lines(text), delimiter=delimiter, skipinitialspace=skip), NUM_SAMPLED))
        for skip in (False, True)
    )
    behind_a_space = any(field.startswith(" ") and field.lstrip(" ").startswith('"') for row in plain for field in row)
    return behind_a_space and len({len(row) for row in spaced if row}) == 1
