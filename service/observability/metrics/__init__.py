"""The metrics of the service: what each process counts, and the exposition of all of it to Prometheus."""

from service.observability.metrics.cells import mark_process_dead
from service.observability.metrics.collectors import Metrics
from service.observability.metrics.requests import OTHER

__all__ = ["OTHER", "Metrics", "mark_process_dead"]
