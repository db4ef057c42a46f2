"""TextEncoder: lengths, truncation, and what cannot be encoded."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from transformers import AutoTokenizer

from adapters.config import DEFAULT_BACKBONE
from adapters.errors import EncodingError, TooLongError
from adapters.source import LoadedBackbone, locate

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
    """With `error` an over-long text is refused, and the message says which one and what to do."""
    with pytest.raises(TooLongError, match=r"input 1 has more than 8 tokens.*truncation") as caught:
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
