"""EditableFile: copies of an adapter file with single changes."""

import copy
import json
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adapters.errors import Reason

Json = dict[str, Any]
Makers = Mapping[Reason, Mapping[str, Callable[[], bytes]]]  # changed files by reason code and name
Tensors = Iterable[tuple[str, str, list[int], bytes]]  # name, dtype, shape, bytes
HEAD, LAST = "head.bias", "layers.1.up.weight"  # the first and the last tensor of a file with the layers 0 and 1


def pack(raw: bytes, body: bytes) -> bytes:
    """Build a safetensors file with exactly this header."""
    return struct.pack("<Q", len(raw)) + raw + body


def canonical(value: Any) -> str:
    """Serialize with sorted keys and no white space, in version 1 as ASCII; NaN and Infinity by their names."""
    ascii_only = isinstance(value, dict) and value.get("format_version") == 1
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only)


class EditableFile:
    """Every method leaves the file unchanged and returns the bytes of a changed one."""

    def __init__(self, data: bytes) -> None:
        (length,) = struct.unpack("<Q", data[:8])
        self.data, self.body = data, data[8 + length :]
        self.text = data[8 : 8 + length].decode().rstrip(" ")
        self._header: Json = json.loads(self.text)

    @property
    def header(self) -> Json:
        """A copy of the header."""
        return copy.deepcopy(self._header)

    @property
    def metadata(self) -> Json:
        """A copy of the adakron metadata."""
        described: Json = json.loads(self._header["__metadata__"]["adakron"])
        return described

    @property
    def names(self) -> list[str]:
        """The tensor names in the order of their bytes."""
        tensors = {name: value for name, value in self._header.items() if name != "__metadata__"}
        return sorted(tensors, key=lambda name: tensors[name]["data_offsets"])

    def bytes_of(self, name: str) -> bytes:
        """Return the bytes of one tensor."""
        start, stop = self._header[name]["data_offsets"]
        return self.body[start:stop]

    def with_text(self, text: str | bytes, body: bytes | None = None) -> bytes:
        """Replace the header, padded with spaces to 8 bytes as the library does."""
        raw = text.encode() if isinstance(text, str) else text
        return pack(raw + b" " * (-len(raw) % 8), self.body if body is None else body)

    def replaced(self, old: str, new: str) -> bytes:
        """Replace one spelling in the header."""
        assert old in self.text, old
        return self.with_text(self.text.replace(old, new, 1))

    def edited(self, change: Callable[[Json], object], body: bytes | None = None) -> bytes:
        """Let `change` change the header in place."""
        header = self.header
        change(header)
        return self.with_text(json.dumps(header, separators=(",", ":")), body)

    def tensor(self, name: str, **fields: Any) -> bytes:
        """Replace fields in the entry of one tensor."""
        return self.edited(lambda header: header[name].update(fields))

    def renamed(self, old: str, new: str) -> bytes:
        """Rename one tensor."""
        return self.edited(lambda header: header.update({new: header.pop(old)}))

    def described_as(self, text: str) -> bytes:
        """Replace the adakron metadata by a text."""
        return self.edited(lambda header: header["__metadata__"].update(adakron=text))

    def described(self, change: Callable[[Json], object]) -> bytes:
        """Let `change` change the adakron object in place; write it in canonical form."""
        metadata = self.metadata
        change(metadata)
        return self.described_as(canonical(metadata))

    def config(self, **fields: Any) -> bytes:
        """Replace fields in the adakron object."""
        return self.described(lambda metadata: metadata.update(fields))

    def task(self, **fields: Any) -> bytes:
        """Replace fields in its task."""
        return self.described(lambda metadata: metadata["task"].update(fields))

    def backbone(self, **fields: Any) -> bytes:
        """Replace fields in its backbone."""
        return self.described(lambda metadata: metadata["backbone"].update(fields))

    def examples(self, *examples: tuple[Any, list[Any]]) -> bytes:
        """Set golden examples of these inputs and logits."""
        return self.config(examples=[{"inputs": inputs, "logits": logits} for inputs, logits in examples])

    def repacked(self, tensors: Tensors) -> bytes:
        """Replace the tensors, laid side by side."""
        header: Json = {"__metadata__": self._header["__metadata__"]}
        blocks, at = [], 0
        for name, dtype, shape, block in tensors:
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(block)]}
            blocks.append(block)
            at += len(block)
        return self.with_text(json.dumps(header, separators=(",", ":")), b"".join(blocks))

    def tensors(self) -> list[tuple[str, str, list[int], bytes]]:
        """Return the tensors in the form that `repacked` takes."""
        return [
            (name, self._header[name]["dtype"], self._header[name]["shape"], self.bytes_of(name)) for name in self.names
        ]

    def with_bytes(self, name: str, value: bytes, index: int = 0) -> bytes:
        """Write `value` over the bytes of one tensor from its item `index` on; -1: over the last ones."""
        start, stop = self._header[name]["data_offsets"]
        at = stop - len(value) if index < 0 else start + index * len(value)
        assert start <= at <= stop - len(value)
        return self.with_text(self.text, self.body[:at] + value + self.body[at + len(value) :])
