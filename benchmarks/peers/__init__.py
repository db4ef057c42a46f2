"""This server beside others: the same model, texts, clients and cores, each in its own environment."""
