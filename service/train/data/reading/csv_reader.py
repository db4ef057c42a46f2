"""Read CSV, TSV and similar text files into a Table."""

import re
from collections.abc import Iterator
from dataclasses import replace

from service.train.data.reading.csv_dialect import Dialect, QuoteError, find_dialect, split_records
from service.train.data.table import Record, Table
from service.train.errors import DataError, shorten

MISSING = "\\N"  # how MySQL and PostgreSQL export a NULL
_OPENING_QUOTE = re.compile(r'(?:^|[\t\r\n])"')
_BREAK = re.compile(r"[\r\n]")
_QUOTE = re.compile('"')
_JSON = re.compile(r'\s*(\{\s*"|\[\s*[\[{])')
_RULE = re.compile(
    r"[\s:+|-]*--[\s:+|-]*"
)  # the rule below the header of a Markdown table or of a database shell's output
_FORMULA = re.compile(r'="((?:[^"]|"")*)"')  # how programs keep Excel from reading 038.9 as a number


class RowError(DataError):
    """A record does not fit the header; `line` is its first line."""

    def __init__(self, name: str, line: int, message: str) -> None:
        super().__init__(f"{name}, line {line}: {message}")
        self.line = line


def read_delimited(name: str, text: str, usual: str) -> Table:
    """Read the records below a header; `usual` is the delimiter of the file's ending.

    Raises DataError for the first record that does not fit the header.
    """
    if _JSON.match(text):
        raise DataError(f"{name}, line 1: the content is JSON, not a table; rename the file to .jsonl or .json")
    dialect, notes = find_dialect(name, text, usual)
    if dialect.delimiter == "\t" and _OPENING_QUOTE.search(text):
        table = _read_tabs(name, text, dialect)
    else:
        table = _read(name, text, dialect)
    table = replace(table, notes=(*notes, *table.notes))
    return _read_formulas(table) if '="' in text else table


def _read_formulas(table: Table) -> Table:
    """Replace formulas such as `="038.9"` by the texts within their quotes."""
    records = [
        (number, {column: _unwrap(value) for column, value in record.items()}) for number, record in table.records
    ]
    if records == table.records:
        return table
    note = f'{table.name}: formulas such as ="038.9" are read as the texts within their quotes'
    return replace(table, records=records, notes=(*table.notes, note))


def _unwrap(value: str | None) -> str | None:
    match = _FORMULA.fullmatch(value) if value else None
    return match[1].replace('""', '"') if match else value


def _read_tabs(name: str, text: str, dialect: Dialect) -> Table:
    """Read a text with tabs in which some fields begin with a quote.

    Some programs enclose fields in quotes, others write quotes as plain characters. The whole file is read one way:

    - Quotes enclose fields if each opening quote has its closing one and every record then has its fields.
    - Quotes are characters if that fails. They are characters as well if quoted fields would span lines although every
      single line has all fields; but if the header is quoted, or a quote is doubled, quotes enclose.
    """
    enclosed, literal = (_try(name, text, replace(dialect, quotes=quotes)) for quotes in (True, False))
    if isinstance(enclosed, Table):
        knows_quotes = isinstance(literal, RowError) or literal.columns[0].startswith('"')
        if knows_quotes or not _has(enclosed, _BREAK) or _has(enclosed, _QUOTE):
            return enclosed
    if isinstance(literal, Table):
        note = f"{name}: quotes are read as part of the text, as not all of them enclose fields"
        return replace(literal, notes=(note,))
    if isinstance(enclosed, RowError) and enclosed.line > literal.line:  # the reading that went further is more likely
        raise enclosed
    raise literal


def _try(name: str, text: str, dialect: Dialect) -> Table | RowError:
    try:
        return _read(name, text, dialect)
    except RowError as error:
        return error


def _has(table: Table, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(value) for _, record in table.records for value in record.values() if value)


def _read(name: str, text: str, dialect: Dialect) -> Table:
    try:
        return _tabulate(name, split_records(text, dialect))
    except QuoteError as error:
        if "unexpected end" in str(error):
            message = "an opening quote without its closing one; close it, or fetch the file again if it was cut"
        else:
            message = f'quotes that do not enclose a field ({error}); write a quote in a quoted field twice, not as \\"'
        raise RowError(name, error.line, message) from None


def _tabulate(name: str, rows: Iterator[tuple[int, list[str]]]) -> Table:
    filled = ((line, row) for line, row in rows if any(field.strip() for field in row))
    first, header = next(filled, (1, []))
    if not header:
        raise RowError(name, first, "there is nothing below it; the file needs a header and rows")
    columns = [column.strip() for column in header]
    if sum(map(bool, columns)) < 2:
        raise RowError(
            name,
            first,
            f"the header is the one field {shorten(''.join(columns))}; write commas or tabs between the names of its "
            "columns, and leave nothing above them",
        )
    if len(set(filter(None, columns))) < sum(map(bool, columns)):
        column = next(column for column in columns if column and columns.count(column) > 1)
        places = " and ".join(str(place) for place, other in enumerate(columns, start=1) if other == column)
        raise RowError(name, first, f"column {shorten(column)} occurs twice, as {places}; rename one")
    width, unnamed = len(columns), [place for place, column in enumerate(columns) if place and not column]
    has_row_names = not columns[0]  # R and pandas write them under an empty name
    records: list[tuple[int, Record]] = []
    for line, row in filled:
        if not records and _RULE.fullmatch("".join(row)):
            raise RowError(name, line, "a rule of dashes, not a row; remove the line")
        if len(row) != width and (len(row) < width or any(field.strip() for field in row[width:])):
            raise RowError(name, line, _describe_width(row, width))
        for place in unnamed:
            if row[place].strip():
                raise RowError(
                    name,
                    line,
                    f"{shorten(row[place])} is in column {place + 1}, which has no name in the header; name it, or "
                    "quote a field that holds the separator",
                )
        if row == header:
            raise RowError(name, line, "the header is repeated; remove the line")
        record: Record = dict(zip(columns, row, strict=False))
        if MISSING in row:
            record = {column: None if field == MISSING else field for column, field in record.items()}
        if has_row_names or unnamed:
            del record[""]
        records.append((line, record))
    return Table(name, tuple(column for column in columns if column), records, header_line=first)


def _describe_width(row: list[str], expected: int) -> str:
    found = len(row)
    fields = "1 field" if found == 1 else f"{found} fields"
    if found == expected + 1 and row[0].strip('"') == "1":
        return f"{fields}, but the header has {expected}; write it without row names (in R: row.names = FALSE)"
    return f"{fields}, but the header has {expected}; quote a field that holds the separator, or the file was cut there"
