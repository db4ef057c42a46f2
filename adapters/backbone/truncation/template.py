"""Template: the special tokens that a tokenizer puts around one text and around a pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding, Tokenizer

from adapters.errors import BackboneError

_ITEM_BYTES = 8  # of a token id


@dataclass(frozen=True)
class _Part:
    """One special token, or the place of a text."""

    text: int | None  # the index of the text; None: a special token
    token: bytes  # the id of the special token, as a native int64
    type_id: int


class Template:
    """Learned from the post-processor's output for a letter, so it works for every kind of post-processor."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Learn the template. Raises BackboneError for a tokenizer that drops letters."""
        self._parts = {1: _parts(tokenizer.encode("a")), 2: _parts(tokenizer.encode("a", "a"))}
        self._has_types = {number: any(part.type_id for part in parts) for number, parts in self._parts.items()}
        for num_texts, parts in self._parts.items():
            if [part.text for part in parts if part.text is not None] != list(range(num_texts)):
                raise BackboneError("tokenizer.json cannot be used: it drops the letter a, or a text of a pair")

    def num_special(self, num_texts: int) -> int:
        """Return the number of special tokens of an input of `num_texts` texts."""
        return sum(part.text is None for part in self._parts[num_texts])

    def fill(self, texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return token ids and type ids, int64 [length] each, of an input; the first cannot be written to.

        `texts` are the tokens of its texts, each id as a native int64.
        """
        parts = self._parts[len(texts)]
        pieces = [part.token if part.text is None else texts[part.text] for part in parts]
        token_ids = np.frombuffer(b"".join(pieces), dtype=np.int64)
        if not self._has_types[len(texts)]:
            return token_ids, np.zeros(len(token_ids), dtype=np.int64)
        return token_ids, np.repeat([part.type_id for part in parts], [len(piece) // _ITEM_BYTES for piece in pieces])


def _parts(filled: Encoding) -> list[_Part]:
    parts: list[_Part] = []
    for text, token_id, type_id in zip(filled.sequence_ids, filled.ids, filled.type_ids, strict=True):
        part = _Part(text, np.int64(token_id).tobytes() if text is None else b"", type_id)
        if text is None or part not in parts[-1:]:
            parts.append(part)
    return parts
