"""Examples of the protocols' routes for /docs. A test sends each request to a server."""

from typing import Any

from pydantic import BaseModel

from service.api.http.errors import Failure, Shape
from service.api.http.openapi import Responses, shown
from service.api.predict.examples import DIGEST

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


def reshaped(entries: Responses, model: type[BaseModel], shape: Shape) -> Responses:
    """Convert error entries to the shape of a protocol."""
    found: Responses = {}
    for status, entry in entries.items():
        example = entry["content"]["application/json"]["example"]
        failure = Failure(int(status), example["error"], example["error_type"])
        found[status] = {"model": model} | shown(shape(failure), entry["description"])
    return found
