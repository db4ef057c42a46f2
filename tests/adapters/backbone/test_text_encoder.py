"""TextEncoder: lengths, truncation, and what cannot be encoded."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from transformers import AutoTokenizer

from adapters.backbone.files import locate
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import is_blank
from adapters.config import DEFAULT_BACKBONE
from adapters.errors import EncodingError, TooLongError

LONG = "the cat sees a dog and a bird " * 20


def test_equals_transformers_tokenizer(real: LoadedBackbone) -> None:
    """Texts and pairs, short and over-long, get the ids that transformers gives."""
    tokenizer = AutoTokenizer.from_pretrained(locate(DEFAULT_BACKBONE))
    inputs = ["A short text.", LONG, ("one", "two"), (LONG, "two"), ("one", LONG), "naïve CAFÉ — 日本 🙂", " "]
    for item, encoding in zip(inputs, real.encoder.encode(inputs, max_length=32), strict=True):
        texts = (item,) if isinstance(item, str) else item
        expected = tokenizer(*texts, truncation="longest_first", max_length=32)
        assert encoding.token_ids.tolist() == expected["input_ids"]
        assert encoding.type_ids.tolist() == expected["token_type_ids"]


def test_truncation_is_reported(tiny: LoadedBackbone) -> None:
    """An over-long text is cut to max_length and says so; one that fits exactly does not."""
    short, exact, cut = tiny.encoder.encode(["a cat", "a cat a cat a cat", "a cat a cat a cat a"], max_length=8)
    assert [(len(e), e.truncated) for e in (short, exact, cut)] == [(4, False), (8, False), (8, True)]


def test_left_truncation_keeps_the_end(tiny: LoadedBackbone) -> None:
    """`left` drops the beginning, `right` the end."""
    text = "one two three four five six"
    whole, left, right = (
        tiny.encoder.encode([text], max_length=n, truncation=side)[0].token_ids.tolist()
        for n, side in ((64, "right"), (5, "left"), (5, "right"))
    )
    assert left[1:-1] == whole[4:-1]
    assert right[1:-1] == whole[1:4]


def test_error_truncation_names_the_input(tiny: LoadedBackbone) -> None:
    """Truncation `error` refuses an over-long text with a message that gives its index and the remedy."""
    with pytest.raises(TooLongError, match=r"input 1 has more than 8 tokens: shorten it") as caught:
        tiny.encoder.encode(["a cat", LONG], max_length=8, truncation="error")
    assert caught.value.index == 1


@pytest.mark.parametrize("text", ["\ud800", "a \udfff b", ("fine", "\ud83d")])
def test_lone_surrogates_are_refused(tiny: LoadedBackbone, text: str) -> None:
    """A lone surrogate is no text: the error names the input."""
    with pytest.raises(EncodingError, match="input 0 has a lone surrogate"):
        tiny.encoder.encode([text], max_length=8)


def test_threads_do_not_disturb_each_other(tiny: LoadedBackbone) -> None:
    """Encoding with different limits at the same time gives each caller its own."""

    def lengths(limit: int) -> set[int]:
        return {len(e) for _ in range(20) for e in tiny.encoder.encode([LONG] * 5, max_length=limit)}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lengths, [8, 16, 32, 64])) == [{8}, {16}, {32}, {64}]


BLANK = {
    "nothing": "",
    "spaces": " \t\r\n\x0b\x0c\x85",
    "wide spaces": "\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000",
    "controls": "\x00\x01\x1b\x7f\x9f",
    "zero-width": "\u200b\u200c\u200d\u2060\u180e",
    "soft hyphen": "\u00ad",
    "byte order mark": "\ufeff",
    "directions": "\u200e\u200f\u202a\u202e\u2066\u2069",
    "variation selectors": "\ufe0f\ufe0e\U000e0100",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "combining marks": "\u0301\u20e3",
    "private use": "\ue000\U0010fffd",
    "empty Braille cell": "\u2800",
    "Hangul fillers": "\u115f\u1160\u3164\uffa0",
    "replacement": "\ufffd\ufffd",
    "long": "\u200b \u00ad" * 100_000,
}
TEXT = {
    "letter": "a",
    "letter after much": "\u200b" * 70_000 + "a",
    "accent": "e\u0301",
    "punctuation": "?",
    "digit": "0",
    "emoji": "\U0001f642",
    "joined emoji": "\U0001f468\u200d\U0001f469",
    "flag": "\U0001f1e9\U0001f1ea",
    "keycap": "1\ufe0f\u20e3",
    "CJK": "\u65e5",
    "spacing mark": "\u093e",
    "modifier letter": "\u02b0",
    "drawn format character": "\u06dd",
    "unassigned": "\U0001fae8",
    "lone surrogate": "\ud800",
}


@pytest.mark.parametrize("text", BLANK.values(), ids=BLANK)
def test_blank_texts(text: str) -> None:
    """A text of white space, controls, invisible characters or lone combining marks has nothing to read."""
    assert is_blank(text)


@pytest.mark.parametrize("text", TEXT.values(), ids=TEXT)
def test_texts_are_not_blank(text: str) -> None:
    """One character that can be read makes a text, wherever it stands."""
    assert not is_blank(text)
    assert not is_blank(f"\u200b {text} \u00ad")


def test_a_word_of_the_vocabulary_is_never_blank(real: LoadedBackbone) -> None:
    """No character from which the tokenizer makes a known token is taken for blank."""
    characters = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000]
    blank = [character for character in characters if is_blank(character)]
    unknown = real.encoder.encode(["\u2800"], max_length=8)[0].token_ids[1]
    for character, encoding in zip(blank, real.encoder.encode(blank, max_length=8), strict=True):
        assert set(encoding.token_ids[1:-1].tolist()) <= {unknown}, hex(ord(character))


def test_the_first_character_to_read_ends_the_search() -> None:
    """A megabyte of text costs no more than its first characters."""
    text = "a" * 1_000_000
    started = time.thread_time()
    for _ in range(1000):
        assert not is_blank(text)
    assert time.thread_time() - started < 1  # a pass over the text takes milliseconds
