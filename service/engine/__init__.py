"""The engine: batches in, logits out, in a process of its own; the backend contract, messages, worker and threads."""
