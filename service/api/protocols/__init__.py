"""The protocols of other servers: Open Inference, Text Embeddings Inference, text classification."""
