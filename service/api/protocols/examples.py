"""Examples of the routes for several tasks and for other servers' protocols. A test sends each request to a server."""

from collections.abc import Callable
from typing import Any, cast

from pydantic import BaseModel

from service.api.examples import DIGEST, PREDICT_ERRORS, shown
from service.api.http.errors import Failure

MANY_REQUESTS: dict[str, Any] = {
    "two tasks": {"value": {"inputs": "a warm , funny and utterly charming film .", "tasks": ["sst2", "cola"]}},
    "two versions": {"value": {"inputs": ["I loved it.", "It is dull."], "tasks": ["sst2", "sst2@1"], "top_k": 1}},
}
MANY_RESPONSE = shown(
    {
        "results": {
            "sst2": {
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
            },
            "colla": {
                "error": "no task 'colla'; did you mean cola? (GET /v1/tasks lists them)",
                "error_type": "unknown_task",
                "status": 404,
            },
        },
        "timings_ms": {"tokenize": 0.2, "total": 8.3},
    }
)
MANY_ERRORS = {status: entry for status, entry in PREDICT_ERRORS.items() if status != 404}

INFER_REQUESTS: dict[str, Any] = {
    "two texts": {
        "value": {
            "id": "42",
            "inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["I loved it.", "It is dull."]}],
        }
    },
    "best label": {
        "value": {
            "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["I loved it."]}],
            "outputs": [{"name": "scores", "parameters": {"classification": 1}}],
        }
    },
}
INFER_RESPONSE = shown(
    {
        "model_name": "sst2",
        "model_version": "3",
        "id": "42",
        "parameters": {"digest": DIGEST, "num_truncated": 0},
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [2, 2], "data": [0.01, 0.99, 0.97, 0.03]}],
    }
)
MODEL = {
    "name": "sst2",
    "versions": ["1", "2", "3"],
    "platform": "adakron",
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
    "outputs": [
        {"name": name, "datatype": "FP32", "shape": [-1, 2], "labels": ["negative", "positive"]}
        for name in ("scores", "logits")
    ],
}

TEI_REQUESTS: dict[str, Any] = {
    "a text": {"value": {"inputs": "a warm , funny and utterly charming film ."}},
    "a batch": {"value": {"inputs": [["I loved it."], ["I want my two hours back."]], "truncate": True}},
    "one pair": {
        "summary": "one pair (tasks mrpc, rte, stsb)",
        "value": {"inputs": ["A man is playing a guitar.", "Someone plays an instrument."]},
    },
}
TEI_RESPONSE = shown([{"score": 0.98, "label": "positive"}, {"score": 0.02, "label": "negative"}])
CLASSIFY_REQUESTS: dict[str, Any] = {
    "one text": {"value": {"model": "sst2", "input": "a warm , funny and utterly charming film ."}},
    "several": {"value": {"model": "sst2", "input": ["I loved it.", "It is dull."], "use_activation": False}},
}
CLASSIFY_RESPONSE = shown(
    {
        "id": "classify-9bf17f2847b046c7b2d5495f4b4f9682",
        "object": "list",
        "created": 1793534400,
        "model": "sst2",
        "data": [{"index": 0, "label": "positive", "probs": [0.02, 0.98], "num_classes": 2}],
        "usage": {"prompt_tokens": 11, "total_tokens": 11, "completion_tokens": 0},
    }
)


def reshaped(
    entries: dict[int | str, dict[str, Any]], model: type[BaseModel], shape: Callable[[Failure], Any]
) -> dict[int | str, dict[str, Any]]:
    """Error entries as a protocol with another shape has them."""
    found: dict[int | str, dict[str, Any]] = {}
    for status, entry in entries.items():
        example = entry["content"]["application/json"]["example"]
        shaped = shape(Failure(int(status), example["error"], example["error_type"]))
        content = {"application/json": {"example": shaped}}
        found[status] = {"model": model, "description": entry["description"], "content": content}
    return found


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of `model` without references."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(value: Any) -> Any:
        if isinstance(value, list):
            return [resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return resolved(definitions[value["$ref"].rpartition("/")[2]])
        return {key: resolved(item) for key, item in value.items()}

    return cast(dict[str, Any], resolved(schema))
