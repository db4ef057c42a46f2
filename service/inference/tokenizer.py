"""Tokenizer: texts to Encodings, in threads of its own unless switching threads would take longer."""

from collections.abc import Sequence

from adapters.backbone.text_encoder import Encoding, TextEncoder, TextInput, Truncation, run
from adapters.config import SpecialTokens, TaskSpec
from adapters.errors import EncodingError, TooLongError
from service.errors import InvalidInput
from service.inference.round_robin import RoundRobinExecutor

HOW_CUT = '"truncation": "right", "left" or "head-tail"'  # in this server's own API
MAX_CHARS_AT_ONCE = 512  # tokenized in the caller's thread, in at most a quarter of a millisecond


class Tokenizer:
    """Runs a TextEncoder: short texts on the event loop, long texts and large requests in threads.

    In the threads, tasks take turns of some milliseconds; the encoder releases the GIL while it works.
    """

    def __init__(self, encoder: TextEncoder, num_threads: int) -> None:
        self._encoder = encoder
        self._executor = RoundRobinExecutor(num_threads, "tokenizer")
        self._ready: set[SpecialTokens] = set()  # rules for which the encoder has been prepared

    async def encode(
        self,
        inputs: Sequence[TextInput],
        task: str,
        spec: TaskSpec,
        truncation: Truncation | None = None,
        how_cut: str = HOW_CUT,
    ) -> list[Encoding]:
        """Tokenize `inputs` by the rules of `spec`; `truncation` None means that of `spec`.

        Raises InvalidInput for an input that cannot be encoded; `how_cut` says how a client lets texts be cut. If the
        caller is cancelled, tokenizing stops.
        """
        steps = self._encoder.steps(
            inputs,
            max_length=spec.max_length,
            truncation=truncation or spec.truncation,
            special_tokens=spec.special_tokens,
        )
        try:
            if is_short(inputs) and spec.special_tokens in self._ready:
                return run(steps)
            encodings = await self._executor.run(task, steps)
            self._ready.add(spec.special_tokens)
            return encodings
        except TooLongError as error:
            raise InvalidInput(f"{error}, or let it be cut by {how_cut}") from error
        except EncodingError as error:
            raise InvalidInput(str(error)) from error

    def close(self) -> None:
        """Wait for what is running and end the threads."""
        self._executor.close()


def is_short(inputs: Sequence[TextInput]) -> bool:
    """Whether the inputs are tokenized at once, on the event loop."""
    num_chars = sum(len(item) if isinstance(item, str) else len(item[0]) + len(item[1]) for item in inputs)
    return num_chars <= MAX_CHARS_AT_ONCE
