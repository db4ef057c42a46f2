"""Python clients of an AdaKron server, sync and async. They need httpx and nothing else: no torch, no server."""

from service.sdk.async_client import AsyncAdaKronClient
from service.sdk.client import AdaKronClient
from service.sdk.errors import (
    AdaKronError,
    ApiError,
    Forbidden,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServerError,
    TimedOut,
    Unauthorised,
    Unavailable,
    Unreachable,
)
from service.sdk.results import (
    LabelPrediction,
    LabelsPrediction,
    Prediction,
    Predictions,
    PredictionsByTask,
    Task,
    TimingsMs,
    ValuePrediction,
)
from service.sdk.retries import Retries

__all__ = [
    "AdaKronClient",
    "AdaKronError",
    "ApiError",
    "AsyncAdaKronClient",
    "Forbidden",
    "InvalidRequest",
    "LabelPrediction",
    "LabelsPrediction",
    "NotFound",
    "Overloaded",
    "Prediction",
    "Predictions",
    "PredictionsByTask",
    "Retries",
    "ServerError",
    "Task",
    "TimedOut",
    "TimingsMs",
    "Unauthorised",
    "Unavailable",
    "Unreachable",
    "ValuePrediction",
]
