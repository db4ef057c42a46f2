"""Cuts long texts before they are tokenized, at places that do not change the tokens of the part that is kept."""
