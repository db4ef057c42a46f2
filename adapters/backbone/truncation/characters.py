"""CharacterClasses: how a BERT tokenizer treats each character, found out by asking the tokenizer.

BERT's normalizer maps each character independently of its neighbours, except for the order of combining marks. Its
pre-tokenizer looks at one normalized character at a time: it drops white space, and splits before and after punctuation
and CJK ideographs. So one class per code point describes both, in any version of Unicode.
"""

import numpy as np
from tokenizers import Tokenizer

UNKNOWN, REMOVED, SPACE, ALONE, WORD, FOREIGN = range(6)
# REMOVED: the normalizer drops it (control characters; combining marks, if accents are stripped)
# SPACE:   separates words and gives no token
# ALONE:   a word of its own: punctuation, a CJK ideograph; at least one token
# WORD:    part of a word: one or more normalized characters
# FOREIGN: as WORD, but in no token of the vocabulary: its word is one unknown token

_BATCH = 2048  # characters per question to the tokenizer
_MARK = "0"  # between two characters; no character is normalized to it as a word of its own


class CharacterClasses:
    """One class per code point. Thread-safe: at worst two threads write the same values."""

    def __init__(self, tokenizer: Tokenizer, alphabet: frozenset[str]) -> None:
        """`alphabet`: every character that occurs in a token of the vocabulary."""
        self._normalize = tokenizer.normalizer.normalize_str
        self._split = tokenizer.pre_tokenizer.pre_tokenize_str
        self._alphabet = alphabet
        self._table = np.zeros(0x110000, dtype=np.uint8)

    def look_up(self, codes: np.ndarray) -> np.ndarray:
        """Return the class of each code point: uint8, in the shape of `codes`."""
        classes: np.ndarray = self._table[codes]
        if not classes.all():
            unknown = np.unique(codes[classes == UNKNOWN])
            for start in range(0, len(unknown), _BATCH):
                batch = unknown[start : start + _BATCH]
                self._table[batch] = self._ask([chr(code) for code in batch])
            classes = self._table[codes]
        return classes

    def _ask(self, characters: list[str]) -> list[int]:
        """Classify each character by the words that the tokenizer makes of it between two letters."""
        text = f" {_MARK} ".join(f"a{character}a" for character in characters)
        answers: list[list[str]] = [[]]
        for piece, _ in self._split(self._normalize(text)):
            if piece == _MARK:
                answers.append([])
            else:
                answers[-1].append(piece)
        return [self._class_of(pieces) for pieces in answers]

    def _class_of(self, pieces: list[str]) -> int:
        if len(pieces) > 1:
            return SPACE if len(pieces) == 2 else ALONE
        if pieces[0] == "aa":
            return REMOVED
        return WORD if self._alphabet.issuperset(pieces[0][1:-1]) else FOREIGN
