"""Metrics, logs, traces and the access log."""
