"""Where texts are tokenised: short ones at once, the others in threads; the tokens are the same."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from adapters.config import TaskSpec
from adapters.encoding import Encoding, TextInput
from adapters.source import LoadedBackbone
from service.errors import InvalidInput
from service.tokenizer import MAX_CHARS_AT_ONCE, Tokenizer

TASK = TaskSpec(type="regression", labels=(), pair=False, pooling="cls", max_length=64)


@pytest.mark.parametrize(
    ("inputs", "at_once"),
    [
        (["a good film"], True),
        (["a" * MAX_CHARS_AT_ONCE], True),
        (["a" * (MAX_CHARS_AT_ONCE + 1)], False),
        (["a good film"] * 100, False),
        ([("a" * MAX_CHARS_AT_ONCE, "b")], False),
    ],
)
async def test_only_what_takes_long_changes_threads(
    tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch, inputs: list[TextInput], at_once: bool
) -> None:
    """The loop's thread takes what is short; in every thread the encodings are those of the encoder."""
    expected = tiny.encoder.encode(inputs, max_length=64)
    threads: list[threading.Thread] = []
    encode = tiny.encoder.encode

    def noted(given: Sequence[TextInput], **options: Any) -> list[Encoding]:
        threads.append(threading.current_thread())
        return encode(given, **options)

    monkeypatch.setattr(tiny.encoder, "encode", noted)
    tokenizer = Tokenizer(tiny.encoder, 1)
    found = await tokenizer.encode(inputs, TASK)
    tokenizer.close()
    assert [thread is threading.main_thread() for thread in threads] == [at_once]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.token_ids, other.token_ids)


@pytest.mark.parametrize("text", ["\ud800", "\ud800" * (MAX_CHARS_AT_ONCE + 1)])
async def test_what_cannot_be_encoded(tiny: LoadedBackbone, text: str) -> None:
    """A lone surrogate is InvalidInput in either thread."""
    tokenizer = Tokenizer(tiny.encoder, 1)
    with pytest.raises(InvalidInput, match="surrogate"):
        await asyncio.wait_for(tokenizer.encode([text], TASK), 30)
    tokenizer.close()
