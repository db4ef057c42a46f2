"""The fixtures of tests/conftest.py that the tests of the benchmarks use."""

from tests.conftest import glue, one_thread, real, seeded, tiny, tiny_folder

__all__ = ["glue", "one_thread", "real", "seeded", "tiny", "tiny_folder"]
