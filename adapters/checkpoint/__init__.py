"""The adapter file: bytes to an `Adapter` or a `GatedAdapter` and back, and every reason to refuse a file."""

from adapters.checkpoint.adapter_file import (
    MAX_FILE_BYTES,
    METADATA_KEY,
    canonical_json,
    parse,
    parse_plain,
    parse_trusted,
    serialize,
)

__all__ = ["MAX_FILE_BYTES", "METADATA_KEY", "canonical_json", "parse", "parse_plain", "parse_trusted", "serialize"]
