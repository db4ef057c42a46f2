"""Benchmarks of the computation without HTTP: kernels, forwards, training."""
