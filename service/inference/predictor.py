"""From checked inputs to logits: what every protocol shares, once it has a permit."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from adapters.backbone.text_encoder import Encoding, TextInput, Truncation
from adapters.method.heads import Output, decode, to_probabilities
from service.api.deps import ServerState
from service.core import Permit, PublishedVersion, Request, Timings
from service.inference.tokenizer import HOW_CUT
from service.observability.request_context import Span, current

Encoded = tuple[list[Encoding], float]  # and the seconds that it took


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """What a version says of N inputs, in their order."""

    version: PublishedVersion
    encodings: list[Encoding]
    logits: np.ndarray  # [N, num outputs] float
    timings: Timings

    def outputs(self, rows: slice, *, raw_scores: bool = False) -> list[Output]:
        """Labels with their probabilities (raw: logits), or a value, of the inputs in `rows`."""
        return decode(self.logits[rows], self.version.spec, raw_scores=raw_scores)

    def values(self, *, raw_scores: bool = False) -> np.ndarray:
        """Probabilities (raw, and of a regression: logits), float32 [N, num outputs]."""
        spec = self.version.spec
        if raw_scores or spec.type == "regression":
            return self.logits.astype(np.float32)
        return to_probabilities(self.logits / spec.temperature, spec.type).astype(np.float32)

    @property
    def num_tokens(self) -> int:
        """That were read."""
        return sum(map(len, self.encodings))


def most_tokens(item: TextInput, max_length: int) -> int:
    """What an input may have: a token a character (decomposed, one may become three) and [CLS] and [SEP]s."""
    texts = (item,) if isinstance(item, str) else item
    if any(len(text) >= max_length for text in texts):
        return max_length
    num_characters = sum(len(text) if text.isascii() else 3 * len(text) for text in texts)
    return min(max_length, num_characters + 1 + len(texts))


def reserve(
    inputs: Sequence[TextInput], version: PublishedVersion, permit: Permit, state: ServerState, *, beside: int = 0
) -> None:
    """Hold the tokens that they may have, beside those that the same request holds by other permits. Raises what
    `Admission.reserve` raises."""
    most = sum(most_tokens(item, version.spec.max_length) for item in inputs)
    state.admission.reserve(permit, most, beside=beside)


async def encode(
    inputs: Sequence[TextInput],
    version: PublishedVersion,
    truncation: Truncation | None,
    state: ServerState,
    how_cut: str = HOW_CUT,
) -> Encoded:
    """Their tokens, counted in the metrics; cut as the task was trained where `truncation` is None. Raises
    InvalidInput."""
    started = time.monotonic()
    encodings = await state.tokenizer.encode(inputs, version.task, version.spec, truncation, how_cut)
    ended = time.monotonic()
    tokenize_s = ended - started
    if (record := current()).span is not None:
        record.stages.append(Span("tokenize", started, ended))
    state.metrics.tokenize.observe(tokenize_s)
    return encodings, tokenize_s


async def compute(
    version: PublishedVersion, permit: Permit, state: ServerState, encoded: Callable[[], Awaitable[Encoded]]
) -> Computed:
    """Run what `encoded` gives in the next batches; the adapter is loaded meanwhile, if need be.

    Raises what `AdapterCache.hold`, `encoded` and `Scheduler.submit` raise.
    """
    record = current()
    run = record.run_of(version)
    with state.adapter_cache.hold(version) as hold:
        encodings, tokenize_s = await encoded()
        run.num_inputs, run.num_tokens, run.tokenize_s = len(encodings), sum(map(len, encodings)), tokenize_s
        state.admission.tokenised(permit, run.num_tokens)
        done = asyncio.get_running_loop().create_future()
        queued = Request(version.task, await hold.slot(), encodings, done, permit)
        queued.timings.tokenize_s = tokenize_s
        try:
            logits = await state.scheduler.submit(queued)
        finally:
            record.computed(run, queued)
    state.label_counts.add(version, logits)
    return Computed(version, encodings, logits, queued.timings)
