"""Examples and errors of the admin API for /docs."""

from typing import Any

from service.api.admin.schemas import ConflictBody
from service.api.http.openapi import BODY_ERRORS, KEY_ERRORS, Responses, failing
from service.api.predict.examples import DIGEST

VERSION = {
    "task": "sst2",
    "version": 3,
    "digest": DIGEST,
    "created_at": "2026-11-01T12:00:00Z",
    "type": "single_label",
    "labels": ["negative", "positive"],
    "pair": False,
    "max_length": 128,
    "truncation": "right",
    "temperature": 1.35,
    "context": None,
    "num_parameters": 149952,
    "num_bytes": 305120,
    "metrics": {"accuracy": 0.9},
    "quarantined": False,
    "changes": None,
}
ADMIN_TASK = {
    "task": "sst2",
    "versions": [VERSION],
    "aliases": {"live": 3, "canary": 3},
    "weight": 1.0,
    "rollback_to": None,
}
MOVED_ALIAS = ADMIN_TASK | {"changes": None}
CHANGES = {
    "live": 3,
    "compatible": False,
    "breaking": ["labels removed: 'negative'"],
    "notes": ["labels added: 'bad'"],
    "type": None,
    "pair": None,
    "labels_removed": ["negative"],
    "labels_added": ["bad"],
    "labels_reordered": False,
    "max_length": None,
    "context": None,
}
INCOMPATIBLE = failing(
    "It would break the clients of the live version",
    "sst2@4 was not made live: it would break the clients of version 3: labels removed: 'negative' "
    "(allow_incompatible=true or --allow-incompatible makes it live anyway)",
    "incompatible",
    reason="incompatible",
    version=4,
    digest=DIGEST,
    changes=CHANGES,
) | {"model": ConflictBody}

STORAGE_ERRORS: Responses = {
    503: failing("The registry's database is unavailable", "the registry cannot be reached", "registry_unavailable"),
    507: failing("The registry's disk is full", "the registry's disk is full", "storage_full"),
}
ADMIN_ERRORS: Responses = {
    **KEY_ERRORS,
    404: failing("Unknown task, version or alias", "task 'sst2' has no version 9", "unknown_version"),
    422: BODY_ERRORS[422],
    503: STORAGE_ERRORS[503],
}
WRITE_ERRORS: Responses = {**ADMIN_ERRORS, **BODY_ERRORS, **STORAGE_ERRORS}
UPLOAD_ERRORS: Responses = {
    **KEY_ERRORS,
    408: BODY_ERRORS[408],
    409: INCOMPATIBLE,
    413: failing("Over the limit", "the body is over 67108864 bytes", "content_too_large", reason="body_too_large"),
    415: failing("Not raw bytes", "send the file as it is", "unsupported_media_type", reason="content_type"),
    422: failing(
        "Refused; nothing is stored", "tensor head.weight is missing", "upload_refused", reason="tensor_missing"
    ),
    429: failing("Too many at once", "4 uploads are under way already", "overloaded", reason="too_many_uploads"),
    **STORAGE_ERRORS,
}
CONTENT_DIGEST: dict[str, Any] = {
    "name": "Content-Digest",
    "in": "header",
    "required": False,
    "description": "SHA-256 of the file, `sha-256=:BASE64:` (RFC 9530); an upload with another SHA-256 is refused",
    "schema": {"type": "string"},
}
