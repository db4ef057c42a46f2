"""Texts for a machine without data: sentences of random words from the backbone's own vocabulary."""

import json

import numpy as np

from adapters.backbone.files import BackboneSource

MEAN_LOG, DEVIATION = 3.0, 0.6  # of a sentence's number of words, so that texts have about 28 tokens
MIN_LETTERS = 2


def random_sentences(source: BackboneSource, number: int, seed: int = 0) -> list[str]:
    """Make `number` sentences; whole words of the vocabulary have one token each."""
    words = [word for word in vocabulary(source) if word.isascii() and word.isalpha() and len(word) >= MIN_LETTERS]
    generator = np.random.default_rng(seed)
    lengths = np.clip(generator.lognormal(MEAN_LOG, DEVIATION, number), 2, 100).astype(int)
    return [" ".join(generator.choice(words, length)) for length in lengths]


def vocabulary(source: BackboneSource) -> list[str]:
    """Return the tokens of the backbone's tokenizer in the order of their ids."""
    ids: dict[str, int] = json.loads((source.folder / "tokenizer.json").read_text())["model"]["vocab"]
    return sorted(ids, key=ids.__getitem__)
