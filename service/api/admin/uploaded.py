"""The file of an upload: raw bytes in the body, checked against Content-Digest."""

import base64
import binascii
import hashlib
import re

from fastapi import Request

from service.api.http.body import BodyLimits, check_content_encoding, read_body
from service.core import find_name_fault
from service.errors import UnsupportedMediaType, UploadRefused

ADAPTER_MEDIA_TYPE = "application/octet-stream"
_SHA256 = re.compile(r"(?:^|[, ])sha-256=:([A-Za-z0-9+/=]*):")


def check_upload_headers(task: str, request: Request) -> None:
    """Check all that is known before the body is read. Raises UploadRefused, UnsupportedMediaType."""
    if fault := find_name_fault("task", task):
        raise UploadRefused("task_name", fault)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != ADAPTER_MEDIA_TYPE:
        raise UnsupportedMediaType("content_type", f"send the file as it is, with Content-Type: {ADAPTER_MEDIA_TYPE}")
    check_content_encoding(request.scope["headers"])


async def read_file(request: Request, limits: BodyLimits) -> bytes:
    """Return the body.

    Raises UploadRefused when it is empty or differs from its Content-Digest (RFC 9530), and what `read_body` raises.
    """
    data = await read_body(request, limits)
    if not data:
        raise UploadRefused("body_empty", "the body is empty: send the adapter file as the body")
    if (given := request.headers.get("content-digest")) is not None:
        _check_digest(given, data)
    return data


def _check_digest(given: str, data: bytes) -> None:
    match = _SHA256.search(given)
    try:
        expected = base64.b64decode(match[1], validate=True) if match else None
    except binascii.Error:
        expected = None
    if expected is None or len(expected) != 32:
        raise UploadRefused("content_digest_form", "Content-Digest must be sha-256=:BASE64: of the file (RFC 9530)")
    if expected != hashlib.sha256(data).digest():
        raise UploadRefused("content_digest", "Content-Digest does not match the body that arrived")
