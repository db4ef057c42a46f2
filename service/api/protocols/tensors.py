"""The bodies of the Open Inference Protocol v2: JSON, and Triton's binary tensor data after it."""

import struct
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import to_json

from service.api.http.body import read_number
from service.api.http.json_body import first_fault, read_json
from service.errors import InvalidInput

HEADER_LENGTH = "Inference-Header-Content-Length"  # bytes of JSON, where tensors follow it
_LENGTH = struct.Struct("<I")  # of each element of BYTES, before it


_Dimension = Annotated[int, Field(ge=0, lt=2**31)]


class TensorIn(BaseModel):
    """An input."""

    name: str
    shape: Annotated[list[_Dimension], Field(fail_fast=True, max_length=8)]
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None  # None: it follows the JSON


class OutputWanted(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """What to compute."""

    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: Annotated[list[TensorIn], Field(fail_fast=True, min_length=1)]
    outputs: Annotated[list[OutputWanted], Field(fail_fast=True)] = []


@dataclass(frozen=True, eq=False)
class TensorOut:
    """An output, ready to be written."""

    name: str
    values: np.ndarray  # float32, or object: str
    binary: bool

    @property
    def datatype(self) -> str:
        """As the protocol calls it."""
        return "BYTES" if self.values.dtype == object else "FP32"

    def raw(self) -> bytes:
        """As binary tensor data."""
        if self.values.dtype != object:
            return self.values.astype("<f4").tobytes()
        encoded = [text.encode() for text in self.values.flat]
        return b"".join(_LENGTH.pack(len(item)) + item for item in encoded)


def read_request(body: bytes, header_length: str | None, max_inputs: int) -> tuple[InferRequest, bytes]:
    """The request, and what follows its JSON. Raises MalformedJson, InvalidInput."""
    end: int | None = len(body)
    if header_length is not None:
        end = read_number(header_length)
    if end is None or end > len(body):
        raise InvalidInput(f"{HEADER_LENGTH} must be the number of bytes of JSON that the body begins with")
    try:
        return InferRequest.model_validate(read_json(body[:end], max_inputs)), body[end:]
    except ValidationError as error:
        raise first_fault(error) from None


def texts_in(tensor: TensorIn, rest: bytes, max_inputs: int) -> list[str]:
    """The elements of a tensor of BYTES [N], [N, 1] or [N, 2] in row-major order; `rest` follows the JSON.

    Raises InvalidInput.
    """
    name, shape = tensor.name, tensor.shape
    if tensor.datatype != "BYTES":
        raise InvalidInput(f"input {name!r} is of {tensor.datatype[:20]}: texts are BYTES")
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] in (1, 2))):
        raise InvalidInput(f"the shape of {name!r} is [N] or [N, 1], for pairs [N, 2]: not {shape}")
    if shape[0] > max_inputs:
        raise InvalidInput(
            f"input {name!r} has the shape {shape}: at most {max_inputs} are allowed (ADAKRON_MAX_INPUTS)"
        )
    number, size = prod(shape), tensor.parameters.get("binary_data_size")
    if size is None:
        texts = _flat(tensor)
        if rest:
            raise InvalidInput(f"{len(rest)} bytes follow the JSON, and no input has a binary_data_size")
    elif tensor.data is not None:
        raise InvalidInput(f"input {name!r} has data and a binary_data_size: one of the two")
    elif isinstance(size, bool) or size != len(rest):
        raise InvalidInput(
            f"binary_data_size is {repr(size)[:20]}, and {len(rest)} bytes follow the JSON ({HEADER_LENGTH})"
        )
    else:
        texts = _unpacked(name, rest, number)
    if number != len(texts):
        raise InvalidInput(f"input {name!r} has {len(texts)} elements, and its shape is {shape}")
    return texts


def write_answer(head: dict[str, Any], tensors: list[TensorOut]) -> tuple[bytes, dict[str, str]]:
    """A body and its headers: `head` with the tensors as its `outputs`."""
    outputs, rest = [], []
    for tensor in tensors:
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.values.shape)}
        if tensor.binary:
            rest.append(tensor.raw())
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
    """Of `data`, flat or nested as its shape is."""
    rows: list[Any] = tensor.data or []
    if rows and all(isinstance(row, list) for row in rows):
        rows = [item for row in rows for item in row]
    for index, item in enumerate(rows):
        if not isinstance(item, str):
            raise InvalidInput(f"element {index} of input {tensor.name!r} is {repr(item)[:20]}: it must be text")
    return rows


def _unpacked(name: str, rest: bytes, number: int) -> list[str]:
    """Of `rest`, which must have `number` texts."""
    texts: list[str] = []
    at = 0
    while at < len(rest):
        if at + _LENGTH.size > len(rest):
            raise InvalidInput(f"the binary data of input {name!r} end inside a length")
        if len(texts) == number:
            raise InvalidInput(f"the binary data of input {name!r} have more than the {number} elements of its shape")
        (length,) = _LENGTH.unpack_from(rest, at)
        at += _LENGTH.size
        if at + length > len(rest):
            raise InvalidInput(f"element {len(texts)} of input {name!r} is longer than the binary data")
        try:
            texts.append(rest[at : at + length].decode())
        except UnicodeDecodeError:
            raise InvalidInput(f"element {len(texts)} of input {name!r} is not UTF-8") from None
        at += length
    return texts
