"""Examples that /docs shows. A test sends each request to a server."""

from typing import Any

from service.api.admin.schemas import ConflictBody
from service.api.schemas import ErrorBody

DIGEST = "5470aeff7789bc39c8a4e4fd0c43db71629da03e8b823c1b0624d5788db3959f"

PREDICT_REQUESTS: dict[str, Any] = {
    "one text": {"value": {"inputs": "a warm , funny and utterly charming film ."}},
    "several texts": {"value": {"inputs": ["I loved it.", "I want my two hours back."], "top_k": 1}},
    "a pair": {
        "summary": "a pair (tasks mrpc, rte, stsb)",
        "value": {"inputs": {"text": "A man is playing a guitar.", "text_pair": "Someone plays an instrument."}},
    },
    "several pairs": {
        "summary": "several pairs (tasks mrpc, rte, stsb)",
        "value": {
            "inputs": [["A plane is taking off.", "An air plane is taking off."], ["A cat sleeps.", "It rains."]]
        },
    },
    "no truncation": {"value": {"inputs": "This must be read whole.", "truncation": "error", "raw_scores": True}},
}

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
    "num_parameters": 149952,
    "num_bytes": 305120,
    "metrics": {"accuracy": 0.9},
    "quarantined": False,
    "changes": None,
}
TASK = {
    "task": "sst2",
    "version": 3,
    "digest": DIGEST,
    "type": "single_label",
    "labels": ["negative", "positive"],
    "pair": False,
    "max_length": 128,
    "truncation": "right",
    "temperature": 1.35,
    "metrics": {"accuracy": 0.9},
}
KEY = {
    "id": "3f9a1c22d0b4",
    "name": "ci",
    "scopes": ["upload"],
    "tasks": ["sst2"],
    "created_at": "2026-11-01T12:00:00Z",
    "revoked_at": None,
}
AUDIT_ENTRY = {
    "id": 17,
    "at": "2026-11-01T12:00:00Z",
    "actor": "ci (3f9a1c22d0b4)",
    "action": "publish",
    "task": "sst2",
    "version": 3,
    "alias": None,
    "detail": DIGEST,
    "source": "10.0.0.7",
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
}


def shown(value: Any, text: str = "Successful Response") -> dict[str, Any]:
    """A response entry of OpenAPI with one example."""
    return {"description": text, "content": {"application/json": {"example": value}}}


def failing(text: str, error: str, error_type: str, **more: Any) -> dict[str, Any]:
    """An error entry of OpenAPI with one example."""
    example = {"error": error, "error_type": error_type, **more}
    return {"model": ErrorBody, "description": text, "content": {"application/json": {"example": example}}}


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
PREDICT_RESPONSE = shown(
    {
        "task": "sst2",
        "version": 3,
        "digest": DIGEST,
        "predictions": [
            {
                "label": "positive",
                "score": 0.98,
                "scores": {"negative": 0.02, "positive": 0.98},
                "truncated": False,
                "tokens": 11,
            }
        ],
        "timings_ms": {"tokenize": 0.2, "queue": 0.1, "inference": 7.5},
    }
)

PREDICT_ERRORS: dict[int | str, dict[str, Any]] = {
    400: failing(
        "Malformed JSON", "the body cannot be read as JSON: expected value at line 1 column 12", "malformed_json"
    ),
    404: failing("Unknown task or version", "no task 'sst'; did you mean sst2?", "unknown_task"),
    408: failing("The body came too slowly", "the body did not come within 60 s", "body_timeout"),
    413: failing("Body over the cap", "the body is too large (ADAKRON_MAX_BODY_BYTES)", "content_too_large"),
    422: failing("Inputs that do not fit the task", "input 0 is empty", "validation"),
    429: failing(
        "Too much is queued; see Retry-After",
        "1024 requests are waiting already: try again in 2 s",
        "overloaded",
        reason="queued_requests",
    ),
    503: failing("Draining, or the adapter cannot be loaded", "the server is shutting down", "shutting_down"),
    504: failing("The time for it is over", "not answered within 0.5 s", "timeout"),
}

KEY_ERRORS: dict[int | str, dict[str, Any]] = {
    401: failing(
        "No key, or none that is good", "this server does not know this key", "unauthorised", reason="key_unknown"
    ),
    403: failing("Not with this key", "key 3f9a1c22d0b4 lacks the scope admin", "forbidden", reason="key_scope"),
}
BODY_ERRORS: dict[int | str, dict[str, Any]] = {
    400: PREDICT_ERRORS[400],
    408: PREDICT_ERRORS[408],
    413: PREDICT_ERRORS[413],
    422: failing("A value that cannot be", "version: Input should be greater than or equal to 1", "validation"),
}
STORAGE_ERRORS: dict[int | str, dict[str, Any]] = {
    503: failing("The registry's database is away", "the registry cannot be reached", "registry_unavailable"),
    507: failing("The registry's disk is full", "the registry's disk is full", "storage_full"),
}
ADMIN_ERRORS: dict[int | str, dict[str, Any]] = {
    **KEY_ERRORS,
    404: failing("Unknown task, version or alias", "task 'sst2' has no version 9", "unknown_version"),
    422: BODY_ERRORS[422],
    503: STORAGE_ERRORS[503],
}
WRITE_ERRORS: dict[int | str, dict[str, Any]] = {**ADMIN_ERRORS, **BODY_ERRORS, **STORAGE_ERRORS}
UPLOAD_ERRORS: dict[int | str, dict[str, Any]] = {
    **KEY_ERRORS,
    408: BODY_ERRORS[408],
    409: INCOMPATIBLE,
    413: failing("Over the cap", "the body is over 67108864 bytes", "content_too_large", reason="body_too_large"),
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
    "description": "SHA-256 of the file, `sha-256=:BASE64:` (RFC 9530): the upload is refused where it differs",
    "schema": {"type": "string"},
}
