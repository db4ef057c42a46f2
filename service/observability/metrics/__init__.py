"""The metrics of the service: collectors, and their exposition to Prometheus."""

from service.observability.metrics.collectors import Metrics
from service.observability.metrics.requests import OTHER

__all__ = ["OTHER", "Metrics"]
