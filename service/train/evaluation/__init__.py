"""Evaluation on the validation rows: metrics, calibration and an analysis of the mistakes."""
