"""Mutations of adapter files, from single bits to other spellings of the header; deterministic for a seed."""

import json
import random
import struct
from collections.abc import Callable, Sequence

from tests.long.json_mutations import change_spaces, change_tokens, change_value, spell
from tests.support.editable_file import EditableFile, canonical, pack

WEIGHTS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e4, -1e4, 10_001.0, 65504.0, 65519.0, 1e9, 3.4e38, float("inf"), float("nan"))
HEADER_BYTES = (0, 1, 2, 7, 8, 65535, 65536, 65537, 2**31, 2**32, 2**53, 2**63, 2**64 - 1)


class Mutator:
    """Mutates the valid files `bases` one to three times."""

    def __init__(self, bases: Sequence[bytes]) -> None:
        self._bases = [EditableFile(base) for base in bases]
        self._kinds: tuple[Callable[[random.Random, bytes], bytes], ...] = (
            flip_bits,
            overwrite,
            cut,
            insert,
            self._splice,
            change_length,
            retokenise,
            respace,
            reorder_tensors,
            *(change_header, respell_header, change_description, change_weights) * 3,  # these pass the most checks
        )

    def draw(self, rng: random.Random) -> bytes:
        """Draw one mutated file."""
        data = rng.choice(self._bases).data
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            data = self.mutate(rng, data)
        return data

    def mutate(self, rng: random.Random, data: bytes) -> bytes:
        """Mutate `data`, which may be any bytes, once."""
        try:
            return rng.choice(self._kinds)(rng, data)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error, RecursionError):
            return flip_bits(rng, data)  # `data` is no longer a valid file

    def _splice(self, rng: random.Random, data: bytes) -> bytes:
        other = rng.choice(self._bases).data
        start, length = rng.randrange(len(other)), rng.choice((1, 4, 16, 64, 512))
        at = rng.randrange(len(data) + 1)
        return data[:at] + other[start : start + length] + data[at + rng.choice((0, length)) :]


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    """Flip one to four bits."""
    changed = bytearray(data or b"\0")
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(rng: random.Random, data: bytes) -> bytes:
    """Overwrite one to four bytes."""
    changed = bytearray(data or b"\0")
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] = rng.choice((0, 32, 34, 48, 92, 123, 125, rng.randrange(256)))
    return bytes(changed)


def cut(rng: random.Random, data: bytes) -> bytes:
    """Delete a piece."""
    start, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 8, 64, len(data)))
    return data[:start] + data[start + length :]


def insert(rng: random.Random, data: bytes) -> bytes:
    """Insert random bytes or a copy of a piece."""
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 8, 64))
    start = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice((rng.randbytes(length), data[start : start + length])) + data[at:]


def change_length(rng: random.Random, data: bytes) -> bytes:
    """Change the header length."""
    (length,) = struct.unpack("<Q", data[:8])
    new = rng.choice((*HEADER_BYTES, length + rng.randint(-9, 9), rng.getrandbits(64))) % 2**64
    return struct.pack("<Q", new) + data[8:]


def _split(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    return data[8 : 8 + length], data[8 + length :]


def _join(rng: random.Random, raw: bytes, body: bytes) -> bytes:
    """Join header and body, mostly with the library's padding."""
    padding = -len(raw) % 8 if rng.randrange(8) else rng.randrange(10)
    return pack(raw + b" " * padding, body)


def retokenise(rng: random.Random, data: bytes) -> bytes:
    """Change tokens of the header."""
    raw, body = _split(data)
    return _join(rng, change_tokens(rng, raw), body)


def respace(rng: random.Random, data: bytes) -> bytes:
    """Insert white space into the header."""
    raw, body = _split(data)
    return _join(rng, change_spaces(rng, raw), body)


def change_header(rng: random.Random, data: bytes) -> bytes:
    """Change one or two values of the header, and its spelling."""
    raw, body = _split(data)
    header = json.loads(raw)
    for _ in range(rng.randint(1, 2)):
        change_value(rng, header)
    return _join(rng, spell(rng, header).encode("utf-8", "surrogatepass"), body)


def respell_header(rng: random.Random, data: bytes) -> bytes:
    """Write the same header in another spelling."""
    raw, body = _split(data)
    return _join(rng, spell(rng, json.loads(raw)).encode("utf-8", "surrogatepass"), body)


def change_description(rng: random.Random, data: bytes) -> bytes:
    """Change one or two values of the adakron metadata, mostly in canonical form."""
    raw, body = _split(data)
    header = json.loads(raw)
    metadata = json.loads(header["__metadata__"]["adakron"])
    for _ in range(rng.randint(1, 2)):
        change_value(rng, metadata)
    text = canonical(metadata) if rng.randrange(5) else spell(rng, metadata)
    header["__metadata__"]["adakron"] = text
    return _join(rng, json.dumps(header, separators=(",", ":")).encode(), body)


def change_weights(rng: random.Random, data: bytes) -> bytes:
    """Overwrite weights: any size, Inf, NaN, or random bits."""
    raw, body = _split(data)
    changed = bytearray(body)
    for _ in range(rng.randint(1, 3)):
        value = struct.pack("<f", rng.choice((*WEIGHTS, rng.gauss(0, 1))))
        value = rng.choice((value, rng.randbytes(4), rng.randbytes(2)))
        at = rng.randrange(max(1, len(changed) - 3)) & ~3
        changed[at : at + len(value)] = value
    return pack(raw, bytes(changed))


def reorder_tensors(rng: random.Random, data: bytes) -> bytes:
    """Reorder the tensors and their entries."""
    file = EditableFile(data)
    tensors = file.tensors()
    rng.shuffle(tensors)
    return file.repacked(tensors)
