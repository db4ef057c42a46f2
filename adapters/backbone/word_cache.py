"""WordCache: remembers the tokens of words, so that a text of known words is not tokenized again.

A word is what white space separates, with its punctuation. For BERT tokenizers the tokens of a text are those of its
words, one after the other (truncation/cutter.py says why).
"""

import re
import string
from array import array
from collections.abc import Callable, Sequence

import numpy as np
from tokenizers import Tokenizer

from adapters.backbone.truncation.characters import ALONE, FOREIGN, SPACE, WORD, CharacterClasses

SPACES = (  # all characters at which str.split() splits
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
MAX_WORDS = 32_768  # of one generation; two take about 10 MB
MAX_WORD_CHARS = 32
MAX_NEW_WORDS = 16  # learned from one text, in about 60 microseconds; with more of them, all of it is tokenized
_ALPHANUMERIC = string.ascii_letters + string.digits
_PLAIN = re.compile(rf"[{_ALPHANUMERIC}]+|[{re.escape(string.punctuation)}]")


class WordCache:
    """The tokens of up to 2 * MAX_WORDS words, those used last. Thread-safe: at worst two threads learn one word."""

    def __init__(self, tokenizer: Tokenizer, characters: CharacterClasses, obeyed: Sequence[str]) -> None:
        """`tokenizer` must be one for which `make_cutter` makes a Cutter; the other arguments are that Cutter's."""
        self._tokenizer, self._model, self._obeyed = tokenizer, tokenizer.model, obeyed
        classes = characters.look_up(np.array([ord(space) for space in SPACES]))
        others = "".join(space for space, found in zip(SPACES, classes, strict=True) if found != SPACE)
        self._others = re.compile(f"[{re.escape(others)}]" if others else r"(?!)")  # the tokenizer joins words there
        self._normalize = _find_normalize(tokenizer, characters)
        self._young: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}  # the generation before: a word used again moves to the young one

    def token_ids(self, text: str) -> bytes | None:
        """Return the token ids of `text`, each as a native int64, without special tokens.

        None if the text has white space of another meaning for the tokenizer, long words, or many new words.
        """
        if not text.isprintable() and self._others.search(text):
            return None
        words = text.split()
        found = list(map(self._young.get, words))
        if None in found and not self._find(words, found):
            return None
        return b"".join(found)  # type: ignore[arg-type]  # none is None

    def _find(self, words: list[str], found: list[bytes | None]) -> bool:
        """Fill the gaps of `found` from the old generation and the tokenizer; return whether none is left."""
        known: dict[str, bytes] = {}
        num_new, complete = 0, True
        for place, word in enumerate(words):
            if found[place] is not None:
                continue
            ids = known.get(word) or self._old.get(word)
            if ids is None and len(word) <= MAX_WORD_CHARS and num_new < MAX_NEW_WORDS:
                ids = to_bytes(self._tokenize(word))
                num_new += 1
            if ids is None:
                complete = False
            else:
                found[place] = known[word] = ids
        if len(self._young) + len(known) > MAX_WORDS:
            self._old, self._young = self._young, {}
        self._young.update(known)
        return complete

    def _tokenize(self, word: str) -> list[int]:
        """Ask WordPiece itself for plain words: the whole pipeline takes ten times as long."""
        is_plain = word.isascii() and word.isprintable() and not any(token in word for token in self._obeyed)
        if self._normalize is None or not is_plain:
            ids: list[int] = self._tokenizer.encode_batch_fast([word], add_special_tokens=False)[0].ids
            return ids
        pieces = _PLAIN.findall(self._normalize(word))
        return [token.id for piece in pieces for token in self._model.tokenize(piece)]


def to_bytes(token_ids: Sequence[int]) -> bytes:
    """Return each id as a native int64."""
    return array("q", token_ids).tobytes()


def _find_normalize(tokenizer: Tokenizer, characters: CharacterClasses) -> Callable[[str], str] | None:
    """Return what the tokenizer does to plain characters: str.lower or str.

    None if it is something else, or if the tokenizer does not split at each punctuation character and there alone.
    """
    plain = _ALPHANUMERIC + string.punctuation
    classes = characters.look_up(np.array(list(map(ord, plain))))
    in_words, alone = classes[: len(_ALPHANUMERIC)], classes[len(_ALPHANUMERIC) :]
    if not (np.isin(in_words, (WORD, FOREIGN)).all() and (alone == ALONE).all()):
        return None
    normalized = tokenizer.normalizer.normalize_str(plain)
    return next((normalize for normalize in (str.lower, str) if normalize(plain) == normalized), None)
