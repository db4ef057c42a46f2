"""The answer of a prediction: `PredictResponse` of schemas.py, without making its models."""

from typing import Any

from adapters.heads import MultiLabelOutput, Output, RegressionOutput, SingleLabelOutput
from service.api.computing import Computed
from service.api.schemas import PredictOptions


def answer_of(computed: Computed, options: PredictOptions) -> dict[str, Any]:
    """One prediction per input, in order, ready for JSON."""
    version, timings = computed.version, computed.timings
    predictions = [
        _prediction(output, options.top_k) | {"truncated": encoding.truncated, "tokens": len(encoding)}
        for output, encoding in zip(computed.outputs(raw_scores=options.raw_scores), computed.encodings, strict=True)
    ]
    return {
        "task": version.task,
        "version": version.version,
        "digest": version.digest,
        "predictions": predictions,
        "timings_ms": {
            "tokenize": milliseconds(timings.tokenize_s),
            "queue": milliseconds(timings.queue_s),
            "inference": milliseconds(timings.inference_s),
        },
    }


def milliseconds(seconds: float) -> float:
    """As answers show them."""
    return round(seconds * 1000, 3)


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
