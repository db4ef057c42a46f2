"""Examples of predictions for /docs. A test sends each request to a server."""

from typing import Any

from service.api.http.openapi import BODY_ERRORS, UNKNOWN_TASK, Responses, failing, shown

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
_ANSWER = {
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
PREDICT_RESPONSE = shown(_ANSWER)
MANY_ERRORS: Responses = {
    **BODY_ERRORS,
    422: failing("Inputs that do not fit the task", "input 0 is empty", "validation"),
    429: failing(
        "Too much is queued; see Retry-After",
        "1024 requests are waiting already: try again in 2 s",
        "overloaded",
        reason="queued_requests",
    ),
    503: failing("Draining, or the adapter cannot be loaded", "the server is shutting down", "shutting_down"),
    504: failing("The request's time is over", "not answered within 0.5 s", "timeout"),
}
PREDICT_ERRORS: Responses = {**MANY_ERRORS, 404: UNKNOWN_TASK}

MANY_REQUESTS: dict[str, Any] = {
    "two tasks": {"value": {"inputs": "a warm , funny and utterly charming film .", "tasks": ["sst2", "cola"]}},
    "two versions": {"value": {"inputs": ["I loved it.", "It is dull."], "tasks": ["sst2", "sst2@1"], "top_k": 1}},
}
MANY_RESPONSE = shown(
    {
        "results": {
            "sst2": _ANSWER,
            "colla": {
                "error": "no task 'colla'; did you mean cola? (GET /v1/tasks lists them)",
                "error_type": "unknown_task",
                "status": 404,
            },
        },
        "timings_ms": {"tokenize": 0.2, "total": 8.3},
    }
)
