"""What the service measures of itself, and how Prometheus reads it."""

from service.metrics.collectors import Metrics
from service.metrics.requests import OTHER

__all__ = ["OTHER", "Metrics"]
