"""The seal of a backup file: a checksum of all its bytes, in two fields of the header that SQLite leaves to programs.

Adapters and versions have checksums of their own; keys, aliases and the audit log have none.
"""

import zlib
from pathlib import Path

APPLICATION_ID = 0x414B524E  # "AKRN": the file has a seal
_APPLICATION_ID_AT = slice(68, 72)
_SEAL_AT = slice(60, 64)  # SQLite's user_version
_HEADER_BYTES = 100
_CHUNK_BYTES = 1024 * 1024


def seal(path: Path) -> None:
    """Write the seal into a file that is complete and has the application id. Raises OSError."""
    value = _checksum(path)
    with path.open("r+b") as file:
        file.seek(_SEAL_AT.start)
        file.write(value)


def is_broken(path: Path) -> bool:
    """Whether the file has a seal and is not what was sealed; without a seal nothing is known. Raises OSError."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    application_id = int.from_bytes(header[_APPLICATION_ID_AT])
    # A registry has 0 there: what is neither is a damaged id.
    return application_id != 0 and (application_id != APPLICATION_ID or header[_SEAL_AT] != _checksum(path))


def _checksum(path: Path) -> bytes:
    """CRC-32 of the file, the seal itself taken as zeros."""
    with path.open("rb") as file:
        header = bytearray(file.read(_HEADER_BYTES))
        header[_SEAL_AT] = bytes(4)
        value = zlib.crc32(header)
        while chunk := file.read(_CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return value.to_bytes(4)
