"""TextEncoder: texts and pairs of texts -> token ids, with the backbone's own tokenizer."""

import hashlib
import unicodedata
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from adapters.backbone.truncation.cutter import MAX_BLOCK_CHARS, Cutter, make_cutter
from adapters.backbone.truncation.reading import End, ReadInput
from adapters.backbone.truncation.template import Template
from adapters.backbone.word_cache import WordCache, to_bytes
from adapters.config import SpecialTokens, TaskSpec
from adapters.errors import EncodingError, TooLongError

Truncation = Literal["right", "left", "head-tail", "error"]
TextInput = str | tuple[str, str]  # one text, or a pair

_BLANK_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Mn", "Me", "Zs", "Zl", "Zp"})
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffd")  # Hangul fillers, empty Braille cell, replacement
_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")  # drawn Cf

MAX_UNCUT_CHARS = 100_000  # of a text, for tokenizers whose texts cannot be cut before tokenizing
_INPUTS_AT_ONCE = 128
FIRST_CHARS_A_TOKEN = 5  # in the first piece of a text, so that one piece usually is enough


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """Token ids of one input, special tokens included."""

    token_ids: np.ndarray  # [length] int64
    type_ids: np.ndarray  # [length] int64: 0 for the first text, 1 for the second
    truncated: bool  # the input had more tokens than these

    def __len__(self) -> int:
        return len(self.token_ids)


Steps = Generator[None, None, list[Encoding]]  # each step is work of some milliseconds


@dataclass(frozen=True)
class _Rule:
    """A tokenizer with one rule for special tokens in texts; only the cache changes after it is made."""

    tokenizer: Tokenizer
    cutter: Cutter | None
    template: Template
    words: WordCache | None


class TextEncoder:
    """Thread-safe. A text of any length takes the time and memory of the tokens that are kept."""

    def __init__(self, tokenizer_json: bytes) -> None:
        self.sha256 = hashlib.sha256(tokenizer_json).hexdigest()
        self._json = tokenizer_json.decode()
        self._rule = lru_cache(maxsize=2)(self._make_rule)

    @classmethod
    def from_file(cls, path: Path) -> "TextEncoder":
        """Read a `tokenizer.json`."""
        return cls(path.read_bytes())

    def encode(
        self,
        inputs: Sequence[TextInput],
        *,
        max_length: int,
        truncation: Truncation = "right",
        special_tokens: SpecialTokens = "text",
    ) -> list[Encoding]:
        """Return the token ids of each input: those of the whole text, cut to at most `max_length` tokens.

        `truncation` is the end that is cut off an over-long input (of a pair, off its longer text first),
        `special_tokens` whether [SEP] etc. in a text are special. Raises EncodingError for a text with a lone
        surrogate, and for one of over MAX_UNCUT_CHARS characters if the tokenizer is not BERT's; TooLongError for an
        over-long input if `truncation` is "error".
        """
        return run(self.steps(inputs, max_length=max_length, truncation=truncation, special_tokens=special_tokens))

    def encode_for(self, task: TaskSpec, inputs: Sequence[TextInput]) -> list[Encoding]:
        """Encode with the rules of tokenizing that the task was trained with."""
        return self.encode(
            inputs, max_length=task.max_length, truncation=task.truncation, special_tokens=task.special_tokens
        )

    def steps(
        self, inputs: Sequence[TextInput], *, max_length: int, truncation: Truncation, special_tokens: SpecialTokens
    ) -> Steps:
        """Do the work of `encode` in steps of some milliseconds; `run` takes all of them."""
        rule = self._rule(special_tokens)
        _check(inputs, rule)
        encodings: list[Encoding] = []
        for start in range(0, len(inputs), _INPUTS_AT_ONCE):
            if start:
                yield
            several = inputs[start : start + _INPUTS_AT_ONCE]
            made = [_encode_known(item, rule, max_length) for item in several]
            if None in made:
                unknown = [place for place, encoding in enumerate(made) if encoding is None]
                reads = [_read(several[place], rule, max_length, truncation) for place in unknown]
                for group in _groups(reads):
                    if start or len(group) < len(reads):
                        yield
                    raws = rule.tokenizer.encode_batch_fast([piece for _, piece in group], add_special_tokens=False)
                    for (end, _), raw in zip(group, raws, strict=True):
                        end.add(raw.ids)
                for place, read in zip(unknown, reads, strict=True):
                    token_ids, truncated = read.kept()
                    if truncated and truncation == "error":
                        message = f"input {start + place} has more than {max_length} tokens: shorten it"
                        raise TooLongError(start + place, message)
                    made[place] = Encoding(*rule.template.fill([*map(to_bytes, token_ids)]), truncated)
            encodings += made  # type: ignore[arg-type]  # none is None
        return encodings

    def _make_rule(self, special_tokens: SpecialTokens) -> _Rule:
        tokenizer = Tokenizer.from_str(self._json)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = special_tokens == "text"
        cutter = make_cutter(tokenizer, obeys_special=special_tokens == "obeyed")
        words = None if cutter is None else WordCache(tokenizer, cutter.characters, cutter.obeyed)
        return _Rule(tokenizer, cutter, Template(tokenizer), words)


def is_blank(text: str) -> bool:
    """Whether `text` has no visible character.

    Blank are control, format and private-use characters (Unicode categories Cc, Cf, Co), white space (Zs, Zl, Zp) and
    combining marks without a letter (Mn, Me), so zero-width characters, soft hyphens, byte order marks, variation
    selectors and tags; and the Hangul fillers, the empty Braille cell U+2800 and the replacement character U+FFFD.
    Letters, digits, punctuation, symbols, emoji and unassigned characters are text. A lone surrogate is not blank:
    `TextEncoder.encode` raises its own error for it.
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


def run(steps: Steps) -> list[Encoding]:
    """Take all steps at once, and return the encodings."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            encodings: list[Encoding] = end.value
            return encodings


def _encode_known(item: TextInput, rule: _Rule, max_length: int) -> Encoding | None:
    """Encode an input that fits into `max_length` and has known words, or few new ones; return None for another one."""
    texts = (item,) if isinstance(item, str) else item
    budget = max_length - rule.template.num_special(len(texts))
    if rule.words is None or sum(map(len, texts)) > FIRST_CHARS_A_TOKEN * budget:
        return None
    found = list(map(rule.words.token_ids, texts))
    if None in found:
        return None
    encoding = Encoding(*rule.template.fill(found), truncated=False)  # type: ignore[arg-type]  # none is None
    return encoding if len(encoding) <= max_length else None


def _read(item: TextInput, rule: _Rule, max_length: int, truncation: Truncation) -> ReadInput:
    """Prepare an input: choose its pieces, without tokenizing any yet."""
    texts = (item,) if isinstance(item, str) else item
    budget = max(0, max_length - rule.template.num_special(len(texts)))
    num_chars = max(1, int(FIRST_CHARS_A_TOKEN * (budget + 1)))

    def end_of(text: str, *, is_tail: bool) -> End:
        whole = iter([(text, True)])
        return End(
            whole if rule.cutter is None else rule.cutter.pieces(text, num_chars, from_end=is_tail), is_tail=is_tail
        )

    ends = [end_of(text, is_tail=truncation == "left") for text in texts]
    tails = [end_of(text, is_tail=True) for text in texts] if truncation == "head-tail" else []
    return ReadInput(ends, tails, budget)


def _groups(reads: Sequence[ReadInput]) -> Iterator[list[tuple[End, str]]]:
    """Yield the pieces to tokenize next, in groups of some milliseconds; the caller tokenizes each before the next."""
    while ends := [end for read in reads for end in read.lacking()]:
        group: list[tuple[End, str]] = []
        num_chars = 0
        for end in ends:
            group.append((end, piece := end.next_piece()))
            num_chars += len(piece)
            if num_chars >= MAX_BLOCK_CHARS:
                yield group
                group, num_chars = [], 0
        if group:
            yield group


def _check(inputs: Sequence[TextInput], rule: _Rule) -> None:
    for index, item in enumerate(inputs):
        for text in (item,) if isinstance(item, str) else item:
            if text.isascii() and len(text) <= MAX_UNCUT_CHARS:
                continue
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise EncodingError(
                    index,
                    f"input {index} has a lone surrogate at character {error.start}: it is not valid Unicode text",
                ) from None
            if rule.cutter is None and len(text) > MAX_UNCUT_CHARS:
                raise EncodingError(
                    index,
                    f"input {index} has {len(text)} characters; with this backbone's tokenizer a text has at most "
                    f"{MAX_UNCUT_CHARS}: shorten it",
                )
