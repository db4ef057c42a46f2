"""TextEncoder: texts and pairs of texts -> token ids, by the backbone's own tokenizer."""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from adapters.errors import EncodingError, TooLongError

Truncation = Literal["right", "left", "error"]
TextInput = str | tuple[str, str]  # one text, or a pair

_BLANK_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Mn", "Me", "Zs", "Zl", "Zp"})
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffd")  # Hangul fillers, empty Braille cell, replacement
_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")  # drawn Cf


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """Token ids of one input, special tokens included."""

    token_ids: np.ndarray  # [length] int64
    type_ids: np.ndarray  # [length] int64: 0 for the first text, 1 for the second
    truncated: bool  # the input had more tokens than these

    def __len__(self) -> int:
        return len(self.token_ids)


class TextEncoder:
    """Safe to use from several threads: a tokenizer is never changed once it is made."""

    def __init__(self, tokenizer_json: bytes) -> None:
        self.sha256 = hashlib.sha256(tokenizer_json).hexdigest()
        self._json = tokenizer_json.decode()
        self._tokenizer = lru_cache(maxsize=16)(self._make_tokenizer)

    @classmethod
    def from_file(cls, path: Path) -> "TextEncoder":
        """Read a `tokenizer.json`."""
        return cls(path.read_bytes())

    def encode(
        self, inputs: Sequence[TextInput], *, max_length: int, truncation: Truncation = "right"
    ) -> list[Encoding]:
        """Token ids of each input, at most `max_length` tokens.

        `right` and `left` say which end of an over-long input is cut (of a pair, its longer text first). Raises
        EncodingError for a text with a lone surrogate, TooLongError where `truncation` is "error".
        """
        for index, item in enumerate(inputs):
            _check_unicode(index, item)
        tokenizer = self._tokenizer(max_length, "left" if truncation == "left" else "right")
        encodings = []
        for index, raw in enumerate(tokenizer.encode_batch(list(inputs))):
            truncated = bool(raw.overflowing)
            if truncated and truncation == "error":
                raise TooLongError(
                    index,
                    f"input {index} has more than {max_length} tokens: shorten it, or let it be cut with "
                    '"truncation": "right" or "left"',
                )
            token_ids, type_ids = np.array(raw.ids, dtype=np.int64), np.array(raw.type_ids, dtype=np.int64)
            encodings.append(Encoding(token_ids, type_ids, truncated))
        return encodings

    def _make_tokenizer(self, max_length: int, direction: str) -> Tokenizer:
        tokenizer = Tokenizer.from_str(self._json)
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length, direction=direction)
        return tokenizer


def is_blank(text: str) -> bool:
    """Whether `text` has nothing to read.

    Blank are control, format and private-use characters (Unicode categories Cc, Cf, Co), white space (Zs, Zl, Zp) and
    combining marks without a letter (Mn, Me), so zero-width characters, soft hyphens, byte order marks, variation
    selectors and tags; and the Hangul fillers, the empty Braille cell U+2800 and the replacement character U+FFFD.
    Letters, digits, punctuation, symbols, emoji and unassigned characters are text. A lone surrogate is not blank:
    `TextEncoder.encode` refuses it with its own message.
    """
    start, size = 0, 16
    while start < len(text):
        characters = set(text[start : start + size]) - _BLANK_LETTERS
        categories = map(unicodedata.category, characters)
        if not (_SIGNS.isdisjoint(characters) and _BLANK_CATEGORIES.issuperset(categories)):
            return False
        start += size
        size = min(4 * size, 65536)
    return True


def _check_unicode(index: int, item: TextInput) -> None:
    for text in (item,) if isinstance(item, str) else item:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise EncodingError(
                index, f"input {index} has a lone surrogate at character {error.start}: it is not valid Unicode text"
            ) from None
