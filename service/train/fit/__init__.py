"""Fitting: batches, methods, loss, trainer, progress, and the output folder with its checkpoints."""
