"""Long texts are cut before they are tokenized: the tokens are those of the whole text, at a bounded cost."""

import json
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from adapters.backbone import text_encoder as encoding
from adapters.backbone.files import locate
from adapters.backbone.text_encoder import MAX_UNCUT_CHARS, TextEncoder, TextInput, Truncation
from adapters.backbone.truncation import cutter, reading
from adapters.config import DEFAULT_BACKBONE, SpecialTokens
from adapters.errors import BackboneError, EncodingError, TooLongError
from tests.support.reference_truncation import Whole

SIDES: tuple[Truncation, ...] = ("right", "left", "head-tail")
LARGEST = 1_900_000  # bytes of text in the largest body
SPECIAL = ("[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]")


@pytest.fixture(scope="module")
def vocabulary_json() -> bytes:
    """BERT's own tokenizer.json."""
    return (locate(DEFAULT_BACKBONE) / "tokenizer.json").read_bytes()


@pytest.fixture(scope="module")
def encoder(vocabulary_json: bytes) -> TextEncoder:
    """It reads BERT's own tokenizer.json."""
    return TextEncoder(vocabulary_json)


@pytest.fixture(scope="module")
def wholes(vocabulary_json: bytes) -> dict[SpecialTokens, Whole]:
    """The reference for both rules."""
    return {rule: Whole(vocabulary_json, rule) for rule in get_args(SpecialTokens)}


FRAGMENTS = st.one_of(
    st.sampled_from([*SPECIAL, "[SE", "SEP]", "[[SEP]]", "[sep]", "[S\u0301EP]", "[S\u0301\u0301EP]", "[ SEP]"]),
    st.sampled_from(["cafe\u0301", "nai\u0308ve", "\u1100\u1161\u11a8", "\u2260", "\u0344", "İstanbul", "ﬁne", "ΑΣ"]),
    st.sampled_from([*" \t\r\n.,-'[]", "\u3000", "\u00a0", "\u2028", "\u200d", "\u00ad", "\x00", "\x7f", "\ufffd"]),
    st.sampled_from(
        ["日本語", "漢", "한국어", "ไทย", "नमस्ते", "👩\u200d🚀", "😀", "\U000e0001", "\U0002f800", "\ufa0e"]
    ),
    st.sampled_from(["hello", "world", "tokenization", "unaffable", "zzzz", "☃", "3.14"]),
    st.builds(
        lambda text, n: text * n,
        st.sampled_from(["a", "ab", "é", " ", ".", "\u0301", " \u0301", "q\u0301", "☃"]),
        st.sampled_from([2, 7, 99, 100, 101, 102, 203, 260]),
    ),
    st.text(max_size=6),
)
TEXTS = st.lists(FRAGMENTS, max_size=30).map("".join).filter(lambda text: text.isascii() or _is_unicode(text))


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)


@example(item="ab" * 130 + "\u0e44", max_length=8, truncation="right", rule="text", first=5, block=300)
@given(
    item=st.one_of(TEXTS, TEXTS, st.tuples(TEXTS, TEXTS)),
    max_length=st.integers(4, 40),
    truncation=st.sampled_from(SIDES),
    rule=st.sampled_from(get_args(SpecialTokens)),
    first=st.sampled_from([0.2, 1, 5]),
    block=st.sampled_from([3, 16, 300]),
)
@settings(max_examples=300, deadline=None)
def test_the_tokens_are_those_of_the_whole_text(
    encoder: TextEncoder,
    wholes: dict[SpecialTokens, Whole],
    item: TextInput,
    max_length: int,
    truncation: Truncation,
    rule: SpecialTokens,
    first: float,
    block: int,
) -> None:
    """Ids, types and `truncated` equal the library's for any text and any places of the cuts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "FIRST_CHARS_A_TOKEN", first)
        patch.setattr(cutter, "MAX_BLOCK_CHARS", block)
        (found,) = encoder.encode([item], max_length=max_length, truncation=truncation, special_tokens=rule)
    whole = wholes[rule]
    assume(isinstance(item, str) or min(map(whole.num_tokens, item)) <= reading.COMPARED_TOKENS)
    expected = whole(item, max_length, truncation)
    assert (found.token_ids.tolist(), found.type_ids.tolist(), found.truncated) == expected, ascii(item)


@pytest.mark.parametrize("rule", get_args(SpecialTokens))
@pytest.mark.parametrize("truncation", SIDES)
def test_of_long_pairs_too(
    encoder: TextEncoder, wholes: dict[SpecialTokens, Whole], rule: SpecialTokens, truncation: Truncation
) -> None:
    """A pair's texts share the tokens as the library shares them, and the odd one goes to the longer text."""
    for max_length, times in ((5, 2), (64, 20)):  # the library's time grows with the tokens that it cuts off
        short, medium, long = "one two three", "a good film, " * times, "日本語 [SEP] naïve. " * (times * 3 // 2)
        texts = ("", short, medium, medium + "\u0301 a b", long)
        pairs = [(first, second) for first in texts for second in texts]
        for pair, found in zip(pairs, _encode(encoder, pairs, max_length, truncation, rule), strict=True):
            assert found == wholes[rule](pair, max_length, truncation)


def test_beyond_512_tokens_the_texts_of_a_pair_count_as_equally_long(encoder: TextEncoder) -> None:
    """Then the second text has the odd token, and neither is read farther."""
    first, second = ". " * 5000, ". " * 600
    (found,) = encoder.encode([(first, second)], max_length=64)
    assert np.bincount(found.type_ids).tolist() == [32, 32]  # [CLS] and 30 and [SEP], 31 and [SEP]
    (found,) = encoder.encode([(first, ". " * 500)], max_length=64)
    assert np.bincount(found.type_ids).tolist() == [33, 31]


def _encode(
    encoder: TextEncoder, inputs: Sequence[TextInput], max_length: int, truncation: Truncation, rule: SpecialTokens
) -> list[tuple[list[int], list[int], bool]]:
    found = encoder.encode(inputs, max_length=max_length, truncation=truncation, special_tokens=rule)
    return [(one.token_ids.tolist(), one.type_ids.tolist(), one.truncated) for one in found]


HOSTILE = {
    "dots": "." * LARGEST,
    "ideographs": "中" * (LARGEST // 3),
    "one word": "a" * LARGEST,
    "white space": " " * LARGEST,
    "combining marks": "\u0301" * (LARGEST // 2),
    "marks in white space": " \u0301" * (LARGEST // 3),
    "one letter with marks": "a" + "\u0301" * (LARGEST // 2),
    "an unknown word": "q" * 50 + "☃" * (LARGEST // 3),
    "emoji": "😀" * (LARGEST // 4),
    "control characters": "\x01" * LARGEST,
    "special tokens": "[SEP]" * (LARGEST // 5),
    "half special tokens": "[SE" * (LARGEST // 3),
    "words of many tokens": ("qzxvk" * 19 + " ") * (LARGEST // 96),
}
MANY = {"dots": ".", "words": "hello world ", "unknown words": "qzxvk" * 19 + "☃ "}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("truncation", get_args(Truncation))
def test_the_longest_text_takes_little_time_and_memory(encoder: TextEncoder, name: str, truncation: Truncation) -> None:
    """A huge text takes at most a tenth of a second of one thread and a few megabytes."""
    encoder.encode([HOSTILE[name][:1000]], max_length=128, special_tokens="obeyed")
    for rule in get_args(SpecialTokens):
        began = time.thread_time()
        try:
            encoder.encode([HOSTILE[name]], max_length=128, truncation=truncation, special_tokens=rule)
        except TooLongError:
            assert truncation == "error"
        assert time.thread_time() - began < 0.5


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize("pair", [False, True])
def test_many_long_texts_take_little_memory(encoder: TextEncoder, name: str, pair: bool) -> None:
    """Two megabytes in 1,024 inputs are read in steps, and only what is kept of them stays in memory."""
    text = (MANY[name] * 2000)[:2000]
    inputs: list[TextInput] = [(text[:1000], text[1000:]) if pair else text] * 1024
    tracemalloc.start()
    steps = encoder.steps(inputs, max_length=128, truncation="right", special_tokens="text")
    longest_s, began = 0.0, time.thread_time()
    for _ in steps:
        longest_s, began = max(longest_s, time.thread_time() - began), time.thread_time()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert longest_s < 1
    assert peak < 32 * 2**20


@pytest.mark.parametrize(
    "options", [{"lowercase": True}, {"lowercase": False}, {"lowercase": False, "handle_chinese_chars": False}]
)
def test_every_character_has_a_class(options: dict[str, bool]) -> None:
    """Between two letters it vanishes, joins them, parts them, or stands between them; there is no other case."""
    normalizer, splitter = normalizers.BertNormalizer(**options), pre_tokenizers.BertPreTokenizer()
    for code in range(0xD800):
        pieces = [piece for piece, _ in splitter.pre_tokenize_str(normalizer.normalize_str(f"a{chr(code)}a"))]
        assert len(pieces) == 1 or pieces[0] == pieces[-1] == "a", hex(code)


def test_a_tokenizer_of_another_kind_reads_texts_whole() -> None:
    """No safe place for a cut is known: texts are tokenized whole, and refused beyond a length with the remedy."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    encoder = TextEncoder(tokenizer.to_str().encode())
    cases: list[tuple[Truncation, list[int]]] = [
        ("right", [0] * 8),
        ("left", [0] * 7 + [1]),
        ("head-tail", [0] * 7 + [1]),
    ]
    for truncation, expected in cases:
        (found,) = encoder.encode(["a " * 900 + "b"], max_length=8, truncation=truncation)
        assert (found.token_ids.tolist(), found.truncated) == (expected, True)
    encoder.encode(["a" * MAX_UNCUT_CHARS], max_length=8)
    with pytest.raises(EncodingError, match=r"input 1 has 100001 characters.*at most 100000: shorten it"):
        encoder.encode(["a", "a" * (MAX_UNCUT_CHARS + 1)], max_length=8)


@pytest.mark.parametrize(
    ("change", "cut"),
    [
        ({}, True),
        ({"normalized": True}, False),
        ({"single_word": True}, False),
        ({"content": "covid"}, False),
        ({"content": "[TWO WORDS]"}, False),
        ({"content": "[URL]"}, True),
    ],
)
def test_added_tokens_that_may_span_a_cut_forbid_it(vocabulary_json: bytes, change: dict[str, Any], cut: bool) -> None:
    """A token that is found in normalized text, or only between certain neighbours, has no safe place around it."""
    pipeline = json.loads(vocabulary_json)
    pipeline["model"]["vocab"]["covid"] = pipeline["model"]["vocab"]["[unused1]"]
    pipeline["added_tokens"].append(
        pipeline["added_tokens"][-1] | {"special": False, "content": "[NEW]", "id": 1} | change
    )
    made = cutter.make_cutter(Tokenizer.from_str(json.dumps(pipeline)), obeys_special=False)
    assert (made is not None) == cut


def test_a_tokenizer_that_drops_letters_is_refused() -> None:
    """A tokenizer without a token for a letter is refused, because its template cannot be learned."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Replace("a", "")
    with pytest.raises(BackboneError, match="drops the letter a"):
        TextEncoder(tokenizer.to_str().encode()).encode(["b"], max_length=8)
