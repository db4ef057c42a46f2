"""Bytes of a text file -> its text, in whatever encoding."""

import codecs
import gzip
import zlib
from pathlib import Path

from service.train.errors import DataError

MARKS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
FOREIGN = (  # what comes under the wrong ending: first bytes, what it is, what to do
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "save it as CSV"),
    (b"PAR1", "a Parquet file", "name it .parquet"),
    (b"\x1f\x8b", "a gzip file", "name it .gz"),
)


def read_text(path: Path, encoding: str | None) -> str:
    """The text of a file, unpacked where it ends in .gz; None: UTF-8, or what its byte order mark says.

    Raises DataError where it is no text, cut, empty, or in another encoding.
    """
    raw = _unpack(path) if path.suffix.lower() == ".gz" else path.read_bytes()
    for magic, what, remedy in FOREIGN:
        if raw.startswith(magic):
            raise DataError(f"{path.name}, line 1: it is {what}, not text; {remedy}")
    codec = encoding or next((name for mark, name in MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(codec).removeprefix("\ufeff")
    except UnicodeError as error:
        before = raw[: getattr(error, "start", 0)].decode(codec, errors="ignore")
        remedy = f"name its encoding with --encoding, such as {'utf-8' if encoding else 'cp1252'}"
        if getattr(error, "reason", "") in ("unexpected end of data", "truncated data"):
            remedy = f"fetch it again if it was cut there, or {remedy}"
        elif encoding is None and b"\0" in raw:
            remedy = "is it a binary file? Save it as text"
        raise DataError(f"{path.name}, line {_line(before)}: not {codec.upper()}; {remedy}") from None
    if "\0" in text:
        raise DataError(
            f"{path.name}, line {_line(text[: text.index(chr(0))])}: a NUL character; name the encoding with "
            "--encoding (utf-16-le?), or is it a binary file?"
        )
    if not text.strip():
        raise DataError(f"{path.name}: the file is empty; it needs a header and rows, or JSON objects")
    return text


def _unpack(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path.name}: not a gzip file, or it was cut ({error}); fetch or pack it again") from None


def _line(before: str) -> int:
    return before.count("\n") + 1
