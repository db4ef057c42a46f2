"""Tokenizer: texts -> Encodings, in threads of its own where that takes longer than to change threads."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from adapters.config import TaskSpec
from adapters.encoding import Encoding, TextEncoder, TextInput, Truncation
from adapters.errors import EncodingError
from service.errors import InvalidInput

MAX_CHARS_AT_ONCE = 512  # in the caller's thread: a quarter of a millisecond at most


class Tokenizer:
    """Runs a TextEncoder; for long texts and many off the event loop: the encoder frees the GIL while it works."""

    def __init__(self, encoder: TextEncoder, num_threads: int) -> None:
        self._encoder = encoder
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="tokenizer")

    async def encode(
        self, inputs: Sequence[TextInput], task: TaskSpec, truncation: Truncation = "right"
    ) -> list[Encoding]:
        """Encodings of `inputs` for `task`. Raises InvalidInput for what cannot be encoded."""

        def run() -> list[Encoding]:
            return self._encoder.encode(inputs, max_length=task.max_length, truncation=truncation)

        try:
            if _num_chars(inputs) <= MAX_CHARS_AT_ONCE:
                return run()
            return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except EncodingError as error:
            raise InvalidInput(str(error)) from error

    def close(self) -> None:
        """Wait for what is running and end the threads."""
        self._pool.shutdown()


def _num_chars(inputs: Sequence[TextInput]) -> int:
    return sum(len(item) if isinstance(item, str) else len(item[0]) + len(item[1]) for item in inputs)
