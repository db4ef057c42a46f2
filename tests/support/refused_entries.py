"""Files with invalid tensor entries in the header: reason code -> name -> function that makes the file."""

import json
from collections.abc import Callable

from tests.support.editable_file import HEAD, LAST, EditableFile, Json, Makers, pack
from tests.support.refused_headers import torch_zip


def refused_entries(good: EditableFile) -> Makers:
    """In the order of the checks: count, names, fields, sizes, offsets."""
    body, last = good.body, good.header[LAST]["data_offsets"][0]
    first_bytes = len(good.bytes_of(HEAD))
    half = [("a", "F16", [1], bytes(2)), ("b", "F32", [1], bytes(4))]

    def moved(by: int) -> Callable[[Json], None]:
        def move(header: Json) -> None:
            for name in good.names[1:]:
                header[name]["data_offsets"] = [offset + by for offset in header[name]["data_offsets"]]

        return move

    return {
        "container_no_tensor": {
            "no tensors": lambda: good.repacked([]),
            "no tensors, but bytes": lambda: good.with_text('{"__metadata__":{"adakron":"{}"}}', body),
        },
        "container_too_many_tensors": {
            "1,025 tensors": lambda: good.with_text(_many_tensors(1025), bytes(2 * 1025)),
        },
        "container_name_characters": {
            "lone surrogate": lambda: good.renamed(HEAD, "head.\ud800"),
            "NUL": lambda: good.renamed(HEAD, "head\0bias"),
            "new line": lambda: good.renamed(HEAD, "head.bias\n"),
            "escape sequence": lambda: good.renamed(HEAD, "\x1b[31mhead.bias"),
            "umlaut": lambda: good.with_text(good.text.replace('"head.bias"', '"hüte.bias"')),
            "Cyrillic look-alike": lambda: good.renamed(HEAD, "he\u0430d.bias"),
            "right-to-left override": lambda: good.renamed(HEAD, "head.\u202ebias"),
        },
        "container_tensor_name": {
            "empty name": lambda: good.renamed(HEAD, ""),
            "path": lambda: good.renamed(HEAD, "../../etc/passwd"),
            "upper case": lambda: good.renamed(HEAD, "Head.Bias"),
            "leading dot": lambda: good.renamed(HEAD, ".head.bias"),
            "two dots": lambda: good.renamed(HEAD, "head..bias"),
            "space": lambda: good.renamed(HEAD, "head bias"),
            "name of 201 characters": lambda: good.renamed(HEAD, "h" * 201),
        },
        "container_unknown_field": {
            "unknown field": lambda: good.tensor(HEAD, strides=[1]),
            "field in upper case": lambda: good.tensor(HEAD, DTYPE="F32"),
        },
        "container_missing_field": {
            f"no {field}": lambda field=field: good.edited(lambda header: header[HEAD].pop(field))  # type: ignore[misc]
            for field in ("dtype", "shape", "data_offsets")
        },
        "container_mistyped_field": {
            "entry a list": lambda: good.edited(lambda header: header.update({HEAD: ["F32", [2], [0, 8]]})),
            "entry null": lambda: good.edited(lambda header: header.update({HEAD: None})),
            "entry a string": lambda: good.edited(lambda header: header.update({"note": "a string"})),
            "dtype a number": lambda: good.tensor(HEAD, dtype=32),
            "dtype true": lambda: good.tensor(HEAD, dtype=True),
            "shape a number": lambda: good.tensor(HEAD, shape=2),
            "shape a string": lambda: good.tensor(HEAD, shape="2"),
            "shape of strings": lambda: good.tensor(HEAD, shape=["2"]),
            "shape of lists": lambda: good.tensor(HEAD, shape=[[2]]),
            "offsets null": lambda: good.tensor(HEAD, data_offsets=None),
            "offset null": lambda: good.tensor(HEAD, data_offsets=[None, 8]),
        },
        "container_bool": {
            "true in a shape": lambda: good.tensor(HEAD, shape=[True, 2]),
            "false as an offset": lambda: good.tensor(HEAD, data_offsets=[False, 8]),
        },
        "container_dtype": {
            f"dtype {dtype}": lambda dtype=dtype: good.tensor(HEAD, dtype=dtype)  # type: ignore[misc]
            for dtype in ("F64", "BF16", "I8", "BOOL", "f32", "float32", "")
        },
        "container_rank": {
            "rank 0": lambda: good.tensor(HEAD, shape=[]),
            "rank 5": lambda: good.tensor(HEAD, shape=[1, 1, 1, 1, 2]),
        },
        "container_zero_size": {
            "zero-size tensor": lambda: good.tensor(HEAD, shape=[0], data_offsets=[0, 0]),
            "zero-size tensor of 2^40 columns": lambda: good.tensor(HEAD, shape=[0, 2**40]),
        },
        "container_shape_overflow": {
            "product over 2^53": lambda: good.tensor(HEAD, shape=[2**30, 2**30]),
            "product that is 0 in 64 bits": lambda: good.tensor(HEAD, shape=[2**32, 2**32]),
            "product that is right in 64 bits": lambda: good.tensor(HEAD, shape=[2, 5 * 5581, 8681 * 49477, 384773]),
        },
        "container_offsets": {
            "descending offsets": lambda: good.tensor(HEAD, data_offsets=[8, 0]),
            "equal offsets": lambda: good.tensor(HEAD, data_offsets=[8, 8]),
            "one offset": lambda: good.tensor(HEAD, data_offsets=[0]),
            "three offsets": lambda: good.tensor(HEAD, data_offsets=[0, 4, 8]),
            "no offsets": lambda: good.tensor(HEAD, data_offsets=[]),
        },
        "container_span": {
            "span shorter than the shape": lambda: good.tensor(HEAD, shape=[3]),
            "span longer than the shape": lambda: good.tensor(HEAD, shape=[1]),
            "span of another dtype": lambda: good.tensor(HEAD, dtype="F16"),
        },
        "container_hole": {
            "hole in the middle": lambda: good.edited(moved(4), body[:first_bytes] + bytes(4) + body[first_bytes:]),
            "hole at the start": lambda: good.edited(lambda header: header.pop(HEAD)),
        },
        "container_overlap": {
            "one tensor over another": lambda: good.edited(lambda header: header.update({"copy": header[HEAD]})),
            "overlap by four bytes": lambda: good.edited(moved(-4), body[:-4]),
        },
        "container_misaligned": {
            "header of an odd length": lambda: pack(good.text.encode().ljust(len(good.text) | 1), body),
            "float32 at byte 2": lambda: good.repacked(half),
        },
        "container_truncated": {
            "last byte cut": lambda: good.data[:-1],
            "last tensor cut": lambda: good.data[: -len(good.bytes_of(LAST))],
            "no tensors' bytes": lambda: good.with_text(good.text, b""),
            "offset over 2^52": lambda: good.tensor(LAST, shape=[2**50], data_offsets=[last, last + 2**52]),
        },
        "container_trailing_bytes": {
            "one byte more": lambda: good.data + b"\0",
            "zip at the end": lambda: good.data + torch_zip(),
            "file twice": lambda: good.data + good.data,
            "tensor not listed": lambda: good.edited(lambda header: header.pop(LAST)),
        },
    }


def _many_tensors(count: int) -> str:
    header: Json = {"__metadata__": {}}
    for index in range(count):
        header[f"{index:x}"] = {"dtype": "F16", "shape": [1], "data_offsets": [2 * index, 2 * index + 2]}
    return json.dumps(header, separators=(",", ":"))
