"""Bodies of the Open Inference Protocol v2: JSON, followed by Triton's binary tensor data if there are any."""

import struct
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field
from pydantic_core import to_json

from service.api.http.body import parse_model, parse_number
from service.errors import InvalidInput

HEADER_LENGTH = "Inference-Header-Content-Length"  # bytes of JSON, if tensors follow it
_LENGTH = struct.Struct("<I")  # precedes each element of BYTES
_Dimension = Annotated[int, Field(ge=0, lt=2**31)]


class TensorIn(BaseModel):
    """An input tensor."""

    name: str
    shape: Annotated[list[_Dimension], Field(fail_fast=True, max_length=8)]
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None  # None: the data follow the JSON


class OutputWanted(BaseModel):
    """An output that the client asks for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """An inference request."""

    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: Annotated[list[TensorIn], Field(fail_fast=True, min_length=1)]
    outputs: Annotated[list[OutputWanted], Field(fail_fast=True)] = []


@dataclass(frozen=True, eq=False)
class TensorOut:
    """An output tensor."""

    name: str
    values: np.ndarray  # float32, or object: str
    binary: bool

    @property
    def datatype(self) -> str:
        """The protocol's name for the type of `values`."""
        return "BYTES" if self.values.dtype == object else "FP32"

    def to_bytes(self) -> bytes:
        """Encode as binary tensor data."""
        if self.values.dtype != object:
            return self.values.astype("<f4").tobytes()
        encoded = [text.encode() for text in self.values.flat]
        return b"".join(_LENGTH.pack(len(item)) + item for item in encoded)


def read_request(body: bytes, header_length: str | None, max_inputs: int) -> tuple[InferRequest, bytes]:
    """Return the request and the bytes after its JSON. Raises MalformedJson, InvalidInput."""
    end: int | None = len(body)
    if header_length is not None:
        end = parse_number(header_length)
    if end is None or end > len(body):
        raise InvalidInput(f"{HEADER_LENGTH} must be the number of bytes of JSON at the beginning of the body")
    return parse_model(InferRequest, body[:end], max_inputs), body[end:]


def texts_in(tensor: TensorIn, rest: bytes, max_inputs: int) -> list[str]:
    """Return the elements of a tensor of BYTES [N], [N, 1] or [N, 2] in row-major order.

    `rest` are the bytes after the JSON. Raises InvalidInput when shape, type, data and sizes do not fit together.
    """
    name, shape = tensor.name, tensor.shape
    if tensor.datatype != "BYTES":
        raise InvalidInput(f"input {name!r} has the datatype {tensor.datatype[:20]}; texts must be BYTES")
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] in (1, 2))):
        raise InvalidInput(f"input {name!r} has the shape {shape}; it must be [N] or [N, 1], for pairs [N, 2]")
    if shape[0] > max_inputs:
        raise InvalidInput(
            f"input {name!r} has the shape {shape}: at most {max_inputs} are allowed (ADAKRON_MAX_INPUTS)"
        )
    number, size = prod(shape), tensor.parameters.get("binary_data_size")
    if size is None:
        texts = _flat(tensor)
        if rest:
            raise InvalidInput(f"{len(rest)} bytes follow the JSON, but the input has no binary_data_size")
    elif tensor.data is not None:
        raise InvalidInput(f"input {name!r} has both data and a binary_data_size; send one of them")
    elif isinstance(size, bool) or size != len(rest):
        raise InvalidInput(
            f"binary_data_size is {repr(size)[:20]}, but {len(rest)} bytes follow the JSON ({HEADER_LENGTH})"
        )
    else:
        texts = _unpacked(name, rest, number)
    if number != len(texts):
        raise InvalidInput(f"input {name!r} has {len(texts)} elements, but its shape is {shape}")
    return texts


def write_answer(head: dict[str, Any], tensors: list[TensorOut]) -> tuple[bytes, dict[str, str]]:
    """Return a body and its headers: `head` with the tensors as its `outputs`."""
    outputs, rest = [], []
    for tensor in tensors:
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.values.shape)}
        if tensor.binary:
            rest.append(tensor.to_bytes())
            entry["parameters"] = {"binary_data_size": len(rest[-1])}
        else:
            entry["data"] = tensor.values.ravel().tolist()
        outputs.append(entry)
    content = to_json(head | {"outputs": outputs}, inf_nan_mode="null")
    if not rest:
        return content, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(content))}
    return b"".join([content, *rest]), headers


def _flat(tensor: TensorIn) -> list[str]:
    """Return the elements of `data`, which may be flat or nested like its shape."""
    rows: list[Any] = tensor.data or []
    if rows and all(isinstance(row, list) for row in rows):
        rows = [item for row in rows for item in row]
    for index, item in enumerate(rows):
        if not isinstance(item, str):
            raise InvalidInput(f"element {index} of input {tensor.name!r} is {repr(item)[:20]}; it must be a text")
    return rows


def _unpacked(name: str, rest: bytes, number: int) -> list[str]:
    """Split `rest` into `number` texts."""
    texts: list[str] = []
    at = 0
    while at < len(rest):
        if at + _LENGTH.size > len(rest):
            raise InvalidInput(f"the binary data of input {name!r} end inside a length field")
        if len(texts) == number:
            raise InvalidInput(f"the binary data of input {name!r} have more elements than its shape, {number}")
        (length,) = _LENGTH.unpack_from(rest, at)
        at += _LENGTH.size
        if at + length > len(rest):
            raise InvalidInput(f"element {len(texts)} of input {name!r} ends after the binary data")
        try:
            texts.append(rest[at : at + length].decode())
        except UnicodeDecodeError:
            raise InvalidInput(f"element {len(texts)} of input {name!r} is not UTF-8") from None
        at += length
    return texts
