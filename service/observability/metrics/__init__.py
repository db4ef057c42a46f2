"""What the service measures of itself, and how Prometheus reads it."""

from service.observability.metrics.collectors import Metrics
from service.observability.metrics.requests import OTHER

__all__ = ["OTHER", "Metrics"]
