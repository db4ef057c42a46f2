"""The proof of the GPU path on a machine with a GPU and without a network: tests, answers, engine, HTTP, swaps."""
