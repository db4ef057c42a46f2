"""Queries to a Prometheus through its HTTP API."""

from typing import Any

import httpx


def query(url: str, expression: str) -> dict[str, float]:
    """Values by instance ("" where the expression has summed over them)."""
    found = _get(url, "query", query=expression)["result"]
    return {sample["metric"].get("instance", ""): float(sample["value"][1]) for sample in found}


def targets(url: str) -> dict[str, str]:
    """Health ("up", "down", "unknown") by instance."""
    found = _get(url, "targets", state="active")["activeTargets"]
    return {target["labels"]["instance"]: target["health"] for target in found}


def rules(url: str) -> list[dict[str, Any]]:
    """Every rule that it has loaded."""
    return [rule for group in _get(url, "rules")["groups"] for rule in group["rules"]]


def _get(url: str, path: str, **parameters: str) -> dict[str, Any]:
    response = httpx.get(f"{url}/api/v1/{path}", params=parameters, timeout=10)
    response.raise_for_status()
    body = response.json()
    assert body["status"] == "success", body
    return dict(body["data"])
