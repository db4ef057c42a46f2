"""The device: batches in, logits out, in a process of its own on a GPU."""
