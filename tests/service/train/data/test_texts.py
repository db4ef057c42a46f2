"""Text files in any encoding, packed or not."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from service.train.data.reading import text as text_module
from service.train.data.reading.files import read_file
from service.train.data.table import Table
from service.train.errors import DataError, TrainingError
from service.train.options import DataOptions

CONTENT = "text,label\nça coûte 5 €,x\nžluťoučký kůň,y\n"
CUT = CONTENT.encode()[: CONTENT.encode().index("ň".encode()) + 1]  # within a character
WESTERN = "text,label\nça coûte 5 €,x\nÜbel,y\n"


def texts(table: Table) -> list[str]:
    """The column `text`."""
    return [record["text"] for _, record in table.records]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str, suffix: str) -> None:
    """Without any option; without a mark it is UTF-8."""
    path = tmp_path / f"a{suffix}"
    raw = CONTENT.encode(encoding)
    path.write_bytes(gzip.compress(raw) if suffix.endswith(".gz") else raw)
    table = read_file(path)
    assert (table.name, table.columns) == (path.name, ("text", "label"))
    assert texts(table) == ["ça coûte 5 €", "žluťoučký kůň"]


def test_big_endian_marks_are_known(tmp_path: Path) -> None:
    """Files in the encodings of other machines are read."""
    for encoding in ("utf-16-be", "utf-32-be"):
        path = tmp_path / "a.csv"
        path.write_bytes(("\ufeff" + CONTENT).encode(encoding))
        assert texts(read_file(path)) == ["ça coûte 5 €", "žluťoučký kůň"]


@pytest.mark.parametrize("encoding", ["cp1252", "iso-8859-15", "utf-16-le", "UTF_8", "cp850", "mac_roman"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_any_codec_can_be_named(tmp_path: Path, encoding: str, suffix: str) -> None:
    """For each kind of text file."""
    content = {
        ".csv": "text,label\nÜbel ça,x\n",
        ".tsv": "text\tlabel\nÜbel ça\tx\n",
        ".jsonl": '{"text": "Übel ça", "label": "x"}\n',
    }[suffix]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content.encode(encoding))
    assert texts(read_file(path, encoding)) == ["Übel ça"]


def test_a_mark_is_no_text_where_the_codec_is_named(tmp_path: Path) -> None:
    """--encoding utf-8 reads a file with a mark, too."""
    path = tmp_path / "a.csv"
    for encoding in ("utf-8", "utf-16-le"):
        path.write_bytes(("\ufeff" + WESTERN).encode(encoding))
        assert read_file(path, encoding).columns == ("text", "label")


@pytest.mark.parametrize("encoding", ["nonsense", "base64", "rot13", "", "a\0b", "undefined"])
def test_an_unknown_codec_is_reported_at_once(encoding: str) -> None:
    """An unknown encoding is refused before any file is read; codecs that are not for text are unknown."""
    with pytest.raises(TrainingError, match="unknown encoding"):
        DataOptions(train="a.csv", encoding=encoding)


@pytest.mark.parametrize(
    ("raw", "encoding", "message"),
    [
        (WESTERN.encode("cp1252"), None, "a.csv, line 2: not UTF-8; name its encoding with --encoding, such as cp1252"),
        (b"text,label\nabc,x\n\xff,y\n", None, "a.csv, line 3: not UTF-8; name its"),
        (CONTENT.encode(), "ascii", "a.csv, line 2: not ASCII; name its encoding with --encoding, such as utf-8"),
        (CONTENT.encode("utf-16")[:-1], None, "a.csv, line 3: not UTF-16; fetch it again if it was cut there, or"),
        (CUT, None, "a.csv, line 3: not UTF-8; fetch it again if it was cut there, or name its encoding"),
        (WESTERN.replace("€", "e").encode("utf-16-le"), None, "a.csv, line 2: "),
        (b"text,label\nabc,x\n\0bc,y\n", None, "a.csv, line 3: a NUL character; name the encoding with --encoding"),
        (bytes(range(256)), None, "a.csv, line 3: not UTF-8; is it a binary file"),
        (gzip.compress(b"text", mtime=0), None, "a.csv, line 1: it is a gzip file, not text; name it .gz"),
        (
            b"PK\x03\x04 and so on",
            None,
            "a.csv, line 1: it is a zip archive or a spreadsheet, not text; unpack it, or save it as CSV UTF-8",
        ),
        (b"PAR1 and so on", None, "a.csv, line 1: it is a Parquet file, not text; name it .parquet"),
    ],
)
def test_what_cannot_be_decoded_is_reported_with_its_line(
    tmp_path: Path, raw: bytes, encoding: str | None, message: str
) -> None:
    """And with what to do."""
    path = tmp_path / "a.csv"
    path.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        read_file(path, encoding)
    assert str(caught.value).startswith(message)


def test_a_cut_gzip_file(tmp_path: Path) -> None:
    """A file that is not gzip is refused."""
    path = tmp_path / "a.csv.gz"
    for raw in (gzip.compress(CONTENT.encode() * 100)[:-20], b"text,label\n"):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=r"a\.csv\.gz: not a gzip file, or it was cut"):
            read_file(path)


def test_a_gzip_file_that_unpacks_to_very_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused as soon as it passes the limit; no more of it is unpacked."""
    monkeypatch.setattr(text_module, "MAX_UNPACKED_BYTES", 3 * text_module.CHUNK_BYTES)
    raw = gzip.compress(bytes(60 * text_module.CHUNK_BYTES), 1)
    for ending in ("csv", "jsonl", "tsv"):
        path = tmp_path / f"a.{ending}.gz"
        path.write_bytes(raw)
        tracemalloc.start()
        with pytest.raises(DataError, match=r"it unpacks to more than 3,145,728 bytes; if that is intended"):
            read_file(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * text_module.CHUNK_BYTES
