"""The table of methods: every method on every task, with equal care, on one backbone (docs/method.md)."""
