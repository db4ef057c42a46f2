"""Benchmarks of a server as a user starts it, under load from a process of its own."""
