"""Predictions by one task or by several: requests, responses and what happens between."""
