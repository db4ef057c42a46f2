"""What stands between the fields of a text file: told by how many fields its lines have, not by its header alone."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from service.train.data.columns import RECOGNISED
from service.train.data.reading.text import END, iterate_lines

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
NUM_SAMPLED = 200  # records that tell the dialect
_EXCELS_LINE = re.compile(rf'"?sep=([^\w"\r\n])"?[ \t]*{END}', re.IGNORECASE)

# The limit is one of the whole process, so it is set once, here, and never put back: a thread that did so would
# change it under another's reader.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Dialect:
    """How the fields of a record are told apart."""

    delimiter: str
    quotes: bool = True  # whether quotes may enclose a field; otherwise they are characters like any other
    spaces: bool = False  # whether spaces may stand between a delimiter and a quote
    start: int = 0  # where the header begins in the text
    first_line: int = 1  # the line that it stands on


def find_dialect(name: str, text: str, usual: str) -> tuple[Dialect, list[str]]:
    """The dialect of a text with a header, and notes about what was guessed; `usual` belongs to the file's ending.

    A first line `sep=;`, as Excel writes it, decides. Otherwise it is the delimiter by which most of the first records
    have as many fields as the header; of several, the one that finds columns of known names, then the usual one.
    """
    if match := _EXCELS_LINE.match(text):
        return Dialect(match[1], spaces=_has_spaces(text, match[1]), start=match.end(), first_line=2), []
    scores = {mark: _score(text, mark) for mark in (usual, *DELIMITERS)}
    best = max(scores, key=lambda mark: scores[mark])  # of equal ones the first: the usual one
    if scores[best] == (0.0, 0):
        best = usual
    notes = []
    if best != usual:
        notes.append(f"{name}: read with {DELIMITERS[best]} between the fields, as its lines have them")
    for mark, score in scores.items():
        if mark != best and score[0] == scores[best][0] > 0:
            notes.append(
                f"{name}: {DELIMITERS[mark]} could be what separates its fields, too; {DELIMITERS[best]} are taken "
                f"(a first line sep={'TAB' if mark == chr(9) else mark} says otherwise)"
            )
    return Dialect(best, spaces=_has_spaces(text, best)), notes


def split_records(text: str, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Fields of each record, with the line on which it begins. Raises QuoteError where quotes do not fit."""
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
    """Share of the first records that have as many fields as the header, and how many names of the header are known.

    Tabs are also tried without quotes, as much TSV is written without a thought for them.
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
    """Whether fields are enclosed in quotes that stand behind a space: `a, "b"`."""
    if re.search(rf'{re.escape(delimiter)} +"', text) is None:
        return False
    plain, spaced = (
        list(islice(csv.reader(iterate_lines(text), delimiter=delimiter, skipinitialspace=skip), NUM_SAMPLED))
        for skip in (False, True)
    )
    behind_a_space = any(field.startswith(" ") and field.lstrip(" ").startswith('"') for row in plain for field in row)
    return behind_a_space and len({len(row) for row in spaced if row}) == 1
