"""Predictor: from checked inputs to logits, the part of a prediction that every protocol shares."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from adapters.backbone.text_encoder import Encoding, TextInput, Truncation
from adapters.config import MEAN_GATE
from adapters.method.heads import Output, decode, to_probabilities
from service.core import PublishedVersion, Timings
from service.dispatch.dispatcher import Ticket
from service.inference.tokenizer import HOW_CUT, Tokenizer
from service.observability.metrics import Metrics
from service.observability.request_context import Span, current_context

Encoded = tuple[list[Encoding], float]  # with the seconds that tokenizing took


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The answer of one version to N inputs, in their order."""

    version: PublishedVersion
    encodings: list[Encoding]
    logits: np.ndarray  # [N, num outputs] float
    timings: Timings
    gate: str | None = None  # name of the gate by which the adapter was merged; None if the version has no gates

    def outputs(self, rows: slice, *, raw_scores: bool = False) -> list[Output]:
        """Decode the inputs in `rows` to labels with probabilities (`raw_scores`: with logits), or to values."""
        return decode(self.logits[rows], self.version.spec, raw_scores=raw_scores)

    def scores(self, *, raw_scores: bool = False) -> np.ndarray:
        """Return probabilities, or logits for `raw_scores` and for a regression, float32 [N, num outputs]."""
        spec = self.version.spec
        if raw_scores or spec.type == "regression":
            return self.logits.astype(np.float32)
        return to_probabilities(self.logits / spec.temperature, spec.type).astype(np.float32)

    @property
    def num_tokens(self) -> int:
        """Tokens of all inputs, special tokens included."""
        return sum(map(len, self.encodings))


@dataclass(frozen=True, eq=False)
class Predictor:
    """Tokenizes inputs and has them computed. Owned by the event loop."""

    tokenizer: Tokenizer
    metrics: Metrics

    def reserve(self, ticket: Ticket, inputs: Sequence[TextInput], version: PublishedVersion) -> None:
        """Hold the most tokens that `inputs` can have, before they are tokenized. Raises as `Ticket.reserve`."""
        ticket.reserve(sum(max_num_tokens(item, version.spec.max_length) for item in inputs))

    async def encode(
        self,
        inputs: Sequence[TextInput],
        version: PublishedVersion,
        truncation: Truncation | None,
        how_cut: str = HOW_CUT,
    ) -> Encoded:
        """Tokenize `inputs` and observe the time; `truncation` None cuts texts as the task was trained.

        Raises InvalidInput for an input that cannot be tokenized, or is too long with `truncation` "error".
        """
        started = time.monotonic()
        encodings = await self.tokenizer.encode(inputs, version.task, version.spec, truncation, how_cut)
        ended = time.monotonic()
        tokenize_s = ended - started
        if (record := current_context()).otel_span is not None:
            record.spans.append(Span("tokenize", started, ended))
        self.metrics.tokenize.observe(tokenize_s)
        return encodings, tokenize_s

    async def predict(
        self,
        version: PublishedVersion,
        ticket: Ticket,
        encode: Callable[[], Awaitable[Encoded]],
        key: bytes | None = None,
    ) -> Predictions:
        """Await `encode()`, have the adapter loaded meanwhile if needed, and return the logits.

        `key` is the salted digest of a key, for a version with gates. Raises what `encode` and the methods of `ticket`
        raise.
        """
        record = current_context()
        run = record.start_run(version)
        adapter = version.adapter_of(key)
        ticket.load(adapter)
        encodings, tokenize_s = await encode()
        run.num_inputs, run.num_tokens, run.tokenize_s = len(encodings), sum(map(len, encodings)), tokenize_s
        try:
            logits = await ticket.compute(adapter, encodings)
        finally:
            record.finish_run(run, ticket.progress)
        done, gates = ticket.progress, version.gates
        gate = None if gates is None else gates.field if ticket.has_own_gate else MEAN_GATE
        return Predictions(version, encodings, logits, Timings(tokenize_s, done.queue_s, done.inference_s), gate)


def max_num_tokens(item: TextInput, max_length: int) -> int:
    """Return the most tokens that an input can have, at most `max_length`.

    One per character (a decomposed character may become three), plus [CLS] and a [SEP] per text.
    """
    texts = (item,) if isinstance(item, str) else item
    if any(len(text) >= max_length for text in texts):
        return max_length
    num_characters = sum(len(text) if text.isascii() else 3 * len(text) for text in texts)
    return min(max_length, num_characters + 1 + len(texts))
