"""Cutter: cuts a long text into pieces, from one of its ends, whose tokens together are those of the whole text.

Why the tokens are the same, for a BERT tokenizer (BertNormalizer, BertPreTokenizer, WordPiece):

1. Pieces. A piece begins and ends next to white space, punctuation or a CJK ideograph. The pre-tokenizer always splits
   there, each word is tokenized independently, and the normalizer reorders combining marks only behind their base
   character. So tokens(a + b) = tokens(a) + tokens(b).
2. Squeezing. A run of characters that the normalizer removes is reduced to one, and so is a run of white space, with
   or without removed characters inside. A word of more than `max_input_chars_per_word` normalized characters is one
   unknown token, and so is a word with a character that is in no token of the vocabulary: of such words, just enough
   is kept to give that token.
3. Special tokens that are obeyed in a text are found before normalization. No piece ends inside one. Squeezing does not
   break one, because they contain nothing that is squeezed, and does not create one, because one character of each
   run stays.

After squeezing, at least every `2 * (max_input_chars_per_word + 2)` characters give a token. So any number of tokens
needs a bounded number of characters to be tokenized, and the memory of one block, for every text.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from adapters.backbone.truncation.characters import ALONE, FOREIGN, REMOVED, SPACE, WORD, CharacterClasses

MAX_BLOCK_CHARS = 16 * 1024  # processed at once; their tokens take a few megabytes
_LONG_WORD = 25  # characters


class Cutter:
    """Cuts texts for one tokenizer. Thread-safe."""

    def __init__(self, characters: CharacterClasses, max_word_chars: int, obeyed: tuple[str, ...]) -> None:
        """`obeyed`: the contents of the tokens that are found in a text before it is normalized."""
        self.characters, self._max_word_chars, self.obeyed = characters, max_word_chars, obeyed
        self._reach = max(map(len, obeyed), default=1) - 1  # a token around a cut begins at most this far before it

    def pieces(self, text: str, num_chars: int, *, from_end: bool) -> Iterator[tuple[str, bool]]:
        """Yield the pieces of the text from one end to the other, each with whether it is the last.

        The first piece has about `num_chars` characters, later ones have more.
        """
        if len(text) <= num_chars:
            yield text, True
            return
        at, rest = 0, ""  # characters read so far; text that is read and not yielded yet
        while at < len(text):
            upto = min(at + num_chars, len(text))
            if from_end:
                rest = text[len(text) - upto : len(text) - at] + rest
            else:
                rest += text[at:upto]
            at, num_chars = upto, min(2 * num_chars, MAX_BLOCK_CHARS)
            rest, separates = self._squeeze(rest)
            if at == len(text):
                yield rest, True
            elif cut := self._find_cut(rest, separates, from_end=from_end):
                piece, rest = (rest[cut:], rest[:cut]) if from_end else (rest[:cut], rest[cut:])
                yield piece, False

    def _squeeze(self, text: str) -> tuple[str, np.ndarray]:
        """Return `text` squeezed, and for each of its characters whether it separates words."""
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        classes = self.characters.look_up(codes)
        space, separates = classes == SPACE, (classes == SPACE) | (classes == ALONE)
        gap = space | (classes == REMOVED)
        foreign, word = classes == FOREIGN, classes >= WORD
        first_of_gap = gap & ~np.concatenate(([False], gap[:-1]))
        enough = _rank(word, separates) <= self._max_word_chars + 1
        if foreign.any():
            number = np.cumsum(separates)  # of each word
            hopeless = np.bincount(number[foreign], minlength=number[-1] + 1)[number] > 0
            enough = np.where(hopeless, foreign & (_rank(foreign, separates) == 1), enough)
        keep = np.where(gap, first_of_gap | (space & (_rank(space, ~gap) == 1)), enough | ~word)
        if keep.all():
            return text, separates
        return codes[keep].tobytes().decode("utf-32-le"), separates[keep]

    def _find_cut(self, text: str, separates: np.ndarray, *, from_end: bool) -> int | None:
        """Return the end of the next piece, None if it cannot end yet.

        As far from the text's end as possible, but early among long words, which give many tokens and take long.
        """
        at = np.flatnonzero(separates)
        places = np.union1d(at, at + 1)
        if from_end:
            places = places[(places >= self._reach) & (places < len(text))]
            sizes = len(text) - places[::-1]
        else:
            sizes = places[(places <= len(text) - self._reach) & (places > 0)]
        if len(at) * _LONG_WORD < len(text):
            soon = int(np.searchsorted(sizes, len(text) // 4))
            order = np.concatenate((sizes[soon:], sizes[:soon][::-1]))
        else:
            order = sizes[::-1]
        cuts = (len(text) - int(size) if from_end else int(size) for size in order)
        return next((cut for cut in cuts if cut and not self._is_inside(text, cut)), None)

    def _is_inside(self, text: str, place: int) -> bool:
        """Whether an obeyed token spans `place`."""
        return any(
            text.find(token, max(0, place - len(token) + 1), place + len(token) - 1) >= 0 for token in self.obeyed
        )


def make_cutter(tokenizer: Tokenizer, *, obeys_special: bool) -> Cutter | None:
    """Make the cutter for a BERT tokenizer; None for other tokenizers, for which no safe places to cut are known."""
    pipeline: dict[str, Any] = json.loads(tokenizer.to_str())
    model = pipeline["model"]
    kinds = [(pipeline[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
    if kinds != ["BertNormalizer", "BertPreTokenizer", "WordPiece"] or model["unk_token"] not in model["vocab"]:
        return None
    characters = CharacterClasses(tokenizer, frozenset("".join(model["vocab"])))
    added = [token for token in pipeline["added_tokens"] if obeys_special or not token["special"]]
    plain = all(
        not token["normalized"] and not token["single_word"] and _is_plain(token["content"], characters)
        for token in added
    )
    if not plain:
        return None
    return Cutter(characters, model["max_input_chars_per_word"], tuple(token["content"] for token in added))


def _is_plain(content: str, characters: CharacterClasses) -> bool:
    """Whether squeezing never changes `content`: punctuation, such as brackets, around a short word."""
    classes = characters.look_up(np.frombuffer(content.encode("utf-32-le"), dtype=np.uint32))
    return bool(np.isin(classes, (ALONE, WORD)).all() and classes[0] == classes[-1] == ALONE and len(content) <= 64)


def _rank(counted: np.ndarray, restarts: np.ndarray) -> np.ndarray:
    """Return the running count of `counted` since the last of `restarts`: int, of the same length."""
    total = np.cumsum(counted)
    return total - np.maximum.accumulate(np.where(restarts, total, 0))
