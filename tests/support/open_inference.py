"""Requests of the Open Inference Protocol v2, and tasks that answer them."""

import json
from typing import Any

from fastapi.testclient import TestClient

LABELS = ("no", "maybe", "yes")
TASKS: dict[str, dict[str, Any]] = {
    "single": {"seed": 1, "labels": LABELS, "temperature": 2.0},
    "multi": {"seed": 2, "type": "multi_label", "labels": LABELS},
    "value": {"seed": 3, "type": "regression", "labels": ()},
    "pairs": {"seed": 4, "pair": True},
}


def post(client: TestClient, body: Any, path: str = "single", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"/v2/models/{path}/infer", content=content, headers=headers)


def tensor(data: Any, **changes: Any) -> dict[str, Any]:
    return {"name": "text", "shape": [len(data)], "datatype": "BYTES", "data": data} | changes


def binary(texts: bytes, shape: list[int], size: Any = None, **changes: Any) -> tuple[bytes, dict[str, str]]:
    """A body with binary tensor data, and its header."""
    given = {"name": "text", "shape": shape, "datatype": "BYTES"}
    given["parameters"] = {"binary_data_size": len(texts) if size is None else size}
    head = json.dumps({"inputs": [given | changes]}).encode()
    return head + texts, {"Inference-Header-Content-Length": str(len(head))}
