"""Known words are not tokenized again: the tokens stay those of the whole text, and the memory is bounded."""

import json
import string
import sys
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from adapters.backbone import word_cache
from adapters.backbone.files import locate
from adapters.backbone.truncation.cutter import make_cutter
from adapters.backbone.word_cache import MAX_NEW_WORDS, MAX_WORD_CHARS, SPACES, WordCache
from adapters.config import DEFAULT_BACKBONE, SpecialTokens

WORDS = [
    "film",
    "Films,",
    "don't",
    "[SEP]",
    "x[SEP]y",
    "[CLS].",
    "naïve",
    "日本",
    "e\u0301t\u0301",
    "q" * 40,
    "☃",
    "3.14%",
]


def bert(special_tokens: SpecialTokens, *, lowercase: bool = True) -> Tokenizer:
    """Return BERT's own tokenizer, or the same with capital letters that matter."""
    pipeline = json.loads((locate(DEFAULT_BACKBONE) / "tokenizer.json").read_text())
    pipeline["normalizer"]["lowercase"] = lowercase
    tokenizer = Tokenizer.from_str(json.dumps(pipeline))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = special_tokens == "text"
    return tokenizer


def cache_of(tokenizer: Tokenizer, special_tokens: SpecialTokens) -> WordCache:
    """Return an empty cache as TextEncoder makes it."""
    cutter = make_cutter(tokenizer, obeys_special=special_tokens == "obeyed")
    assert cutter is not None
    return WordCache(tokenizer, cutter.characters, cutter.obeyed)


def ids_of(found: bytes | None) -> list[int] | None:
    return None if found is None else np.frombuffer(found, dtype=np.int64).tolist()


def whole(tokenizer: Tokenizer, text: str) -> list[int]:
    """The slow reference: the whole text through the whole pipeline."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


CACHES = {
    (rule, lowercase): (tokenizer := bert(rule, lowercase=lowercase), cache_of(tokenizer, rule))
    for rule in get_args(SpecialTokens)
    for lowercase in (True, False)
}
PIECES = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(SPACES),
    st.sampled_from(string.printable),
    st.characters(exclude_categories=["Cs"]),
    st.text(st.sampled_from("aA1.\x00\x7f\u0301"), max_size=4),
)


@example(pieces=["a\x00b", " ", "a\x7fb"], kind=("text", True))
@example(pieces=["x[SEP]y"], kind=("obeyed", True))
@example(pieces=["A", "\x85", "B", "\x1c", "c"], kind=("text", False))
@given(pieces=st.lists(PIECES, max_size=20), kind=st.sampled_from(list(CACHES)))
@settings(max_examples=500, deadline=None)
def test_the_tokens_are_those_of_the_whole_text(pieces: Sequence[str], kind: tuple[SpecialTokens, bool]) -> None:
    """Any words with any characters between them, new or known, have the tokens that the tokenizer gives the text."""
    tokenizer, cache = CACHES[kind]
    text = "".join(pieces)
    for _ in range(2):
        assert ids_of(cache.token_ids(text)) in (None, whole(tokenizer, text)), ascii(text)


def test_every_plain_word_is_found() -> None:
    """Sentences of words, digits and punctuation are in the cache from the first time on."""
    tokenizer = bert("text")
    cache = cache_of(tokenizer, "text")
    for text in ("A warm, funny film!", "don't-stop @ 3.14% (really)\n\tnow", "", " "):
        assert ids_of(cache.token_ids(text)) == whole(tokenizer, text)


def test_known_words_are_not_tokenized(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of words that were seen in other texts is put together without the tokenizer."""
    tokenizer = bert("text")
    cache = cache_of(tokenizer, "text")
    expected = whole(tokenizer, "dull funny naïve")
    for text in ("a funny film", "dull naïve"):
        cache.token_ids(text)
    monkeypatch.setattr(cache, "_tokenize", None)
    assert ids_of(cache.token_ids("dull funny naïve")) == expected


def test_spaces_are_where_python_splits() -> None:
    """SPACES has each character at which str.split() splits, and no other."""
    assert sorted(SPACES) == [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]


def test_a_text_of_many_new_words_is_left_to_the_tokenizer_but_learned_in_part() -> None:
    """One text learns a bounded number of words, so that random texts cost little; further texts learn the rest."""
    tokenizer = bert("text")
    cache = cache_of(tokenizer, "text")
    text = " ".join(f"w{number}" for number in range(2 * MAX_NEW_WORDS))
    assert cache.token_ids(text) is None
    assert ids_of(cache.token_ids(text)) == whole(tokenizer, text)


def test_long_words_are_never_kept() -> None:
    """A word beyond MAX_WORD_CHARS makes its text go to the tokenizer, each time."""
    cache = cache_of(bert("text"), "text")
    for _ in range(2):
        assert cache.token_ids("x" * (MAX_WORD_CHARS + 1)) is None
        assert cache.token_ids("x" * MAX_WORD_CHARS) is not None


def test_the_words_used_last_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most two generations of words are kept; a word in use stays, others are forgotten."""
    monkeypatch.setattr(word_cache, "MAX_WORDS", 10)
    cache = cache_of(bert("text"), "text")
    for number in range(200):
        assert cache.token_ids(f"often rare{number}") is not None
        assert len(cache._young) + len(cache._old) <= 20
        assert "often" in cache._young.keys() | cache._old.keys()
    assert "rare0" not in cache._young.keys() | cache._old.keys()


def test_another_normalizer_is_asked_for_each_word() -> None:
    """If the tokenizer changes plain characters in another way than BERT, its whole pipeline tokenizes the words."""
    vocabulary = {"[UNK]": 0, "a": 1, "b": 2, "A": 3, ".": 4}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # type: ignore[call-arg]  # a stub's fault
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cache = cache_of(tokenizer, "text")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("b", "a")])  # type: ignore[list-item]
    replaced = WordCache(tokenizer, make_cutter(bert("text"), obeys_special=False).characters, ())  # type: ignore[union-attr]
    assert [ids_of(each.token_ids("a b.")) for each in (cache, replaced)] == [[1, 2, 4], [1, 1, 4]]
