"""The body of a prediction's answer, as bytes: `PredictResponse` of schemas.py, without making its models."""

from typing import Any

from pydantic_core import to_json

from adapters.encoding import Encoding
from adapters.heads import MultiLabelOutput, Output, RegressionOutput, SingleLabelOutput
from service.core import PublishedVersion, Timings


def answer_bytes(
    version: PublishedVersion,
    outputs: list[Output],
    encodings: list[Encoding],
    timings: Timings,
    top_k: int | None,
) -> bytes:
    """JSON of one prediction per input, in order."""
    predictions = [
        _prediction(output, top_k) | {"truncated": encoding.truncated, "tokens": len(encoding)}
        for output, encoding in zip(outputs, encodings, strict=True)
    ]
    answer = {
        "task": version.task,
        "version": version.version,
        "digest": version.digest,
        "predictions": predictions,
        "timings_ms": {
            "tokenize": _ms(timings.tokenize_s),
            "queue": _ms(timings.queue_s),
            "inference": _ms(timings.inference_s),
        },
    }
    return to_json(answer, inf_nan_mode="null")


def _prediction(output: Output, top_k: int | None) -> dict[str, Any]:
    if isinstance(output, RegressionOutput):
        return {"value": output.value}
    if isinstance(output, SingleLabelOutput):
        return {"label": output.label, "score": output.score, "scores": _best(output, top_k)}
    return {"labels": output.labels, "scores": _best(output, top_k)}


def _best(output: SingleLabelOutput | MultiLabelOutput, top_k: int | None) -> dict[str, float]:
    if top_k is None:
        return output.scores
    ranked = sorted(output.scores.items(), key=lambda item: item[1], reverse=True)
    return dict(ranked[:top_k])


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
