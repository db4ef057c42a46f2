"""Files with an invalid header: reason code -> name -> function that makes the file."""

import gzip
import io
import pickle
import struct

import torch

from adapters.checkpoint.container import MAX_HEADER_BYTES
from tests.support.editable_file import HEAD, EditableFile, Makers, pack


def refused_headers(good: EditableFile) -> Makers:
    """In the order of the checks: length, text, JSON, numbers, metadata."""
    text, body = good.text, good.body
    entry = '"head.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    escaped = entry.replace("head", "\\u0068ead")
    start = text.index('"head.bias"')
    return {
        "container_too_short": {"empty file": lambda: b"", "seven bytes": lambda: good.data[:7]},
        "container_foreign_format": {
            "zip by torch.save": torch_zip,
            "pickle of protocol 2": lambda: pickle.dumps({"head.bias": [0.0]}, protocol=2),
            "pickle of protocol 5": lambda: pickle.dumps({"head.bias": [0.0]}, protocol=5),
            "GGUF": lambda: b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + body,
            "HDF5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(8) + body,
            "gzip of a good file": lambda: gzip.compress(good.data),
            "gzip without a time": lambda: gzip.compress(good.data, mtime=0),
            "Git LFS pointer": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        },
        "container_header_length": {
            "header length 0": lambda: pack(b"", body),
            "header length 1": lambda: pack(b"{", body),
            "header length 256 KiB + 1": lambda: pack(text.encode().ljust(MAX_HEADER_BYTES + 1), body),
            "header length 2^63": lambda: struct.pack("<Q", 2**63) + good.data[8:],
            "header length 2^64 - 1": lambda: struct.pack("<Q", 2**64 - 1) + good.data[8:],
            "plain text": lambda: b"nothing of the kind at all",
            "JSON without its length": lambda: text.encode(),
        },
        "container_header_past_end": {
            "header longer than the file": lambda: struct.pack("<Q", 60000) + b"{" * 100,
            "cut in the header": lambda: good.data[:100],
            "cut after the length": lambda: good.data[:8],
        },
        "container_byte_order_mark": {"byte order mark": lambda: good.with_text("\ufeff" + text)},
        "container_white_space": {
            "leading space": lambda: good.with_text(" " + text),
            "leading new line": lambda: good.with_text("\n" + text),
            "trailing new line": lambda: good.with_text(text + "\n"),
            "trailing tab between spaces": lambda: good.with_text(text + " \t "),
            "eight trailing spaces": lambda: good.with_text(text.ljust(len(text) + -len(text) % 8 + 8)),
        },
        "container_not_object": {
            "array": lambda: good.with_text("[" + text + "]"),
            "string": lambda: good.with_text('"' + "x" * 100 + '"'),
            "NUL bytes": lambda: pack(bytes(64), body),
            "UTF-16": lambda: pack(text.encode("utf-16"), body),
        },
        "container_not_utf8": {
            "stray byte": lambda: good.with_text(b'{"\xff":1}'),
            "Latin-1": lambda: good.with_text('{"für":1}'.encode("latin-1")),
            "surrogate in UTF-8": lambda: good.with_text(b'{"\xed\xa0\x80":1}'),
            "overlong NUL": lambda: good.with_text(b'{"\xc0\x80":1}'),
            "cut character": lambda: good.with_text(text.encode()[:-1] + b"\xc3"),
        },
        "container_json": {
            "no closing brace": lambda: good.with_text(text[:-1]),
            "two closing braces": lambda: good.with_text(text + "}"),
            "two objects": lambda: good.with_text(text + text),
            "trailing comma": lambda: good.with_text(text[:-1] + ",}"),
            "comment": lambda: good.with_text(text[:-1] + "/* a comment */}"),
            "single quotes": lambda: good.with_text("{'a':1}"),
            "padded with NUL": lambda: good.with_text(text + "\0\0\0"),
            "control character in a string": lambda: good.replaced('"head.bias"', '"head\tbias"'),
            "bad escape": lambda: good.replaced('"head.bias"', '"head\\.bias"'),
            "number with a leading zero": lambda: good.replaced('"shape":[2]', '"shape":[02]'),
            "number with a plus": lambda: good.replaced('"shape":[2]', '"shape":[+2]'),
            "hexadecimal number": lambda: good.replaced('"shape":[2]', '"shape":[0x2]'),
            "UTF-16 without its mark": lambda: pack(text.encode("utf-16-le"), body),
        },
        "container_nesting": {
            "five deep": lambda: good.replaced('"shape":[2]', '"shape":[[[2]]]'),
            "32,000 arrays deep": lambda: good.with_text('{"a":' + "[" * 32000 + "]" * 32000 + "}"),
            "10,000 objects deep": lambda: good.with_text('{"a":' * 10000 + "1" + "}" * 10000),
            "65,000 open brackets": lambda: good.with_text("{" + "[" * 65000),
        },
        "container_duplicate_key": {
            "tensor twice": lambda: good.with_text(f"{text[:-1]},{entry}}}"),
            "tensor twice, once escaped": lambda: good.with_text(f"{text[:-1]},{escaped}}}"),
            "field twice": lambda: good.replaced('"shape":[2]', '"shape":[2],"shape":[2]'),
            "field twice, once escaped": lambda: good.replaced('"shape":[2]', '"shape":[2],"sh\\u0061pe":[2]'),
            "metadata twice": lambda: good.with_text('{"__metadata__":{"adakron":"x"},' + text[1:]),
            "metadata twice, once escaped": lambda: good.with_text('{"\\u005f_metadata__":{},' + text[1:]),
            "adakron twice": lambda: good.replaced('{"adakron":', '{"adakron":"x","adakron":'),
            "adakron twice, once escaped": lambda: good.replaced('{"adakron":', '{"ad\\u0061kron":"x","adakron":'),
        },
        "container_float": {
            "1.0": lambda: good.replaced('"shape":[2]', '"shape":[2.0]'),
            "exponent": lambda: good.replaced('"shape":[2]', '"shape":[2e0]'),
            "fraction in an offset": lambda: good.replaced('"data_offsets":[0,', '"data_offsets":[0.5,'),
        },
        "container_negative": {
            "negative size": lambda: good.replaced('"shape":[2]', '"shape":[-2]'),
            "negative offset": lambda: good.replaced('"data_offsets":[0,', '"data_offsets":[-8,'),
            "minus zero": lambda: good.replaced('"data_offsets":[0,', '"data_offsets":[-0,'),
        },
        "container_large_integer": {
            "2^53 + 1": lambda: good.tensor(HEAD, shape=[2**53 + 1]),
            "2^64": lambda: good.tensor(HEAD, data_offsets=[0, 2**64]),
            "5,000 digits": lambda: good.replaced('"shape":[2]', f'"shape":[{"9" * 5000}]'),
        },
        "container_not_a_number": {
            "NaN": lambda: good.tensor(HEAD, shape=[float("nan")]),
            "Infinity": lambda: good.tensor(HEAD, shape=[float("inf")]),
            "-Infinity": lambda: good.tensor(HEAD, data_offsets=[float("-inf"), 8]),
        },
        "container_no_metadata": {
            "no metadata": lambda: good.edited(lambda header: header.pop("__metadata__")),
            "empty header": lambda: good.with_text("{}", b""),
        },
        "container_metadata_type": {
            "metadata null": lambda: good.edited(lambda header: header.update(__metadata__=None)),
            "metadata a list": lambda: good.edited(lambda header: header.update(__metadata__=["adakron"])),
            "metadata a string": lambda: good.with_text('{"__metadata__":"adakron",' + text[start:]),
            "metadata of numbers": lambda: good.edited(lambda header: header["__metadata__"].update(adakron=3)),
            "metadata not in a string": lambda: good.edited(lambda header: header.update(__metadata__=good.metadata)),
        },
        "container_metadata_too_large": {
            "metadata of 254,000 bytes": lambda: good.described_as("x" * 254_000),
            "metadata with keys of 127,000 bytes": lambda: good.edited(
                lambda header: header["__metadata__"].update({"k" * 127_000: "", "l" * 127_000: ""})
            ),
        },
    }


def torch_zip() -> bytes:
    """Make a file with torch.save."""
    file = io.BytesIO()
    torch.save({"head.bias": torch.zeros(2)}, file)
    return file.getvalue()
