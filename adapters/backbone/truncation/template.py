"""Template: the special tokens that a tokenizer puts around one text and around a pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding, Tokenizer

from adapters.errors import BackboneError


@dataclass(frozen=True)
class _Part:
    """One special token, or the place of a text."""

    text: int | None  # the index of the text; None: a special token
    token_id: int  # of the special token
    type_id: int


class Template:
    """Learned from the post-processor's output for a letter, so it works for every kind of post-processor."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Learn the template. Raises BackboneError for a tokenizer that drops letters."""
        self._parts = {1: _parts(tokenizer.encode("a")), 2: _parts(tokenizer.encode("a", "a"))}
        for num_texts, parts in self._parts.items():
            if [part.text for part in parts if part.text is not None] != list(range(num_texts)):
                raise BackboneError("tokenizer.json cannot be used: it drops the letter a, or a text of a pair")

    def num_special(self, num_texts: int) -> int:
        """Return the number of special tokens of an input of `num_texts` texts."""
        return sum(part.text is None for part in self._parts[num_texts])

    def fill(self, texts: Sequence[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Return token ids and type ids, int64 [length] each, of an input with these tokens of its texts."""
        token_ids: list[int] = []
        type_ids: list[int] = []
        for part in self._parts[len(texts)]:
            added = [part.token_id] if part.text is None else texts[part.text]
            token_ids += added
            type_ids += [part.type_id] * len(added)
        return np.array(token_ids, dtype=np.int64), np.array(type_ids, dtype=np.int64)


def _parts(filled: Encoding) -> list[_Part]:
    parts: list[_Part] = []
    for text, token_id, type_id in zip(filled.sequence_ids, filled.ids, filled.type_ids, strict=True):
        part = _Part(text, token_id if text is None else 0, type_id)
        if text is None or part not in parts[-1:]:
            parts.append(part)
    return parts
