"""Template: where a tokenizer puts its special tokens around one text and around a pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding, Tokenizer

from adapters.errors import BackboneError


@dataclass(frozen=True)
class _Part:
    """One special token, or the place of a text."""

    text: int | None  # which text stands here
    token_id: int  # of the special token, otherwise
    type_id: int


class Template:
    """Read off from what the tokenizer's post-processor makes of a letter, so it serves every kind of one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises BackboneError for a tokenizer that drops letters."""
        self._parts = {1: _parts(tokenizer.encode("a")), 2: _parts(tokenizer.encode("a", "a"))}
        for num_texts, parts in self._parts.items():
            if [part.text for part in parts if part.text is not None] != list(range(num_texts)):
                raise BackboneError("tokenizer.json drops the letter a, or a text of a pair: it is not usable here")

    def num_special(self, num_texts: int) -> int:
        """Special tokens of an input of so many texts."""
        return sum(part.text is None for part in self._parts[num_texts])

    def fill(self, texts: Sequence[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and type ids, int64 [length] each, of an input with the tokens of these texts."""
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
