"""Decode the bytes of a text file, which may be gzipped, and split the text into lines."""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from service.train.errors import DataError

END = r"(?:\r{0,2}\n|\r)"  # CR CR LF: the file was converted twice
_LINE = re.compile(rf"[^\r\n]*{END}|[^\r\n]+\Z")
_END = re.compile(END)


def iterate_lines(text: str, start: int = 0) -> Iterator[str]:
    """Yield each line from position `start`, with its end."""
    return (match[0] for match in _LINE.finditer(text, start))


def count_line_ends(text: str, start: int = 0, stop: int | None = None) -> int:
    """Count the lines that end between two positions."""
    stop = len(text) if stop is None else stop
    if text.find("\r", start, stop) < 0:
        return text.count("\n", start, stop)
    return sum(1 for _ in _END.finditer(text, start, stop))


MAX_UNPACKED_BYTES = 1024**3  # a gzip file of a few kilobytes can unpack to more than the memory holds
CHUNK_BYTES = 1024**2
_MARK_BEFORE_LINE = re.compile(r"(?<=[\r\n])\ufeff")  # files with byte order marks were joined
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")

MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SPREADSHEET = "save it as CSV UTF-8 in the spreadsheet program"
FOREIGN = (  # files under a wrong ending: first bytes, name of the format, remedy
    (b"PK\x03\x04", "a zip archive or a spreadsheet", f"unpack it, or {SPREADSHEET}"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet or document", SPREADSHEET),
    (b"PAR1", "a Parquet file", "name it .parquet"),
    (b"\x1f\x8b", "a gzip file", "name it .gz"),
    (b"BZh", "a bzip2 archive", "unpack it"),
    (b"\xfd7zXZ\0", "an xz archive", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"version https://git-lfs.github.com", "a pointer of Git LFS", "fetch the file itself with git lfs pull"),
    (b"<!DOCTYPE html", "a web page", "download the file itself"),
    (b"<!doctype html", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
)


def decode(file: str, raw: bytes, encoding: str | None) -> str:
    """Decode in the encoding of the byte order mark, else in `encoding`, else in UTF-8.

    Raises DataError if the file is not text, cut, empty, or in another encoding.
    """
    for magic, what, remedy in FOREIGN:
        if raw.startswith(magic):
            raise DataError(f"{file}, line 1: it is {what}, not text; {remedy}")
    codec = _marked(raw) or encoding or "utf-8"
    try:
        text = raw.decode(codec).removeprefix("\ufeff")
    except UnicodeError as error:
        lead = raw[: getattr(error, "start", 0)]
        remedy = f"name its encoding with --encoding, such as {'utf-8' if encoding else 'cp1252'}"
        if getattr(error, "reason", "") in ("unexpected end of data", "truncated data"):
            remedy = f"fetch it again if it was cut there, or {remedy}"
        elif encoding is None and b"\0" in raw:
            remedy = "is it a binary file? Save it as text"
        elif codec == "utf-8" and not lead.isascii():
            remedy = "the lines above are UTF-8, so files of two encodings were joined: convert one first"
        before = lead.decode(codec, errors="ignore")
        raise DataError(f"{file}, line {_line(before)}: not {codec.upper()}; {remedy}") from None
    if "\0" in text:
        raise DataError(
            f"{file}, line {_line(text[: text.index(chr(0))])}: a NUL character; name the encoding with "
            "--encoding (utf-16-le?), or is it a binary file?"
        )
    if not text.strip():
        raise DataError(f"{file}: the file is empty; it needs a header and rows, or JSON objects")
    return _MARK_BEFORE_LINE.sub("", text)


def doubt_encoding(file: str, raw: bytes, encoding: str | None) -> list[str]:
    """Warn if a file that is read in another encoding is mostly valid UTF-8."""
    if encoding is None or codecs.lookup(encoding).name == "utf-8" or _marked(raw) or raw.isascii() or b"\0" in raw:
        return []
    text = raw.decode(errors="replace")
    wrong = text.count("\ufffd")
    if sum(map(len, _NOT_ASCII.findall(text))) <= 2 * wrong:
        return []
    return [
        f"{file}: read with --encoding {encoding}, but it looks like UTF-8, and its accents may be misread; "
        "leave --encoding out, or save all of it as UTF-8"
    ]


def _marked(raw: bytes) -> str | None:
    return next((name for mark, name in MARKS if raw.startswith(mark)), None)


def read_bytes(path: Path) -> bytes:
    """Read a file, and unpack one that ends in .gz. Raises DataError if it is damaged or unpacks to too many bytes."""
    if path.suffix.lower() != ".gz":
        return path.read_bytes()
    chunks, num_bytes = [], 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                num_bytes += len(chunk)
                if num_bytes > MAX_UNPACKED_BYTES:
                    raise DataError(
                        f"{path.name}: it unpacks to more than {MAX_UNPACKED_BYTES:,} bytes; if that is intended, "
                        "unpack it with gunzip"
                    )
                chunks.append(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path.name}: not a gzip file, or it was cut ({error}); fetch or pack it again") from None
    return b"".join(chunks)


def _line(before: str) -> int:
    return count_line_ends(before) + 1
