"""The engine alone, in the calling process: the upper bound of what the service can reach."""

import itertools
import time
from collections.abc import Iterator, Sequence

from adapters.backbone.text_encoder import Encoding
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from benchmarks.adapters import random_adapter
from service.engine.engine import Engine
from service.engine.worker import engine_threads, load_backbone_for
from service.settings import load_settings


class EngineAlone:
    """`texts` dealt out over random adapters, tokenised beforehand; the default threads and token budget."""

    def __init__(self, texts: Sequence[str], num_adapters: int) -> None:
        settings = load_settings({})
        loaded = load_backbone_for(settings)
        bank = AdapterBank(loaded.identity.hidden_size, loaded.backbone.device, loaded.backbone.dtype)
        for slot in range(num_adapters):
            bank.write(slot, random_adapter(loaded.identity, seed=slot))
        self._engine = Engine(loaded.backbone, bank, engine_threads(settings))
        encodings = loaded.encoder.encode(texts, max_length=128)
        self.num_tokens = [len(encoding) for encoding in encodings]
        numbered = [(number % num_adapters, encoding) for number, encoding in enumerate(encodings)]
        self._batches = itertools.cycle([make_batch(some) for some in filled(numbered, settings.max_batch_tokens)])
        self._singles = itertools.cycle([make_batch([one]) for one in numbered])

    def tokens_per_s(self, seconds: float) -> float:
        """Measure batches as full as the budget allows, for about `seconds`."""
        started, tokens = time.perf_counter(), 0
        while (taken := time.perf_counter() - started) < seconds:
            batch = next(self._batches)
            self._engine.forward(batch)
            tokens += batch.num_tokens
        return tokens / taken

    def forward_s(self, seconds: float) -> list[float]:
        """Seconds of each forward of one text, one text after the other."""
        end, durations = time.perf_counter() + seconds, list[float]()
        while (started := time.perf_counter()) < end:
            self._engine.forward(next(self._singles))
            durations.append(time.perf_counter() - started)
        return durations


def make_batch(members: Sequence[tuple[int, Encoding]]) -> BatchTokens:
    """Make a batch of (slot, encoding); inputs of one slot lie side by side."""
    by_slot: dict[int, list[Encoding]] = {}
    for slot, encoding in members:
        by_slot.setdefault(slot, []).append(encoding)
    return BatchTokens.of(list(by_slot.items()))


def filled(numbered: Sequence[tuple[int, Encoding]], budget: int) -> Iterator[list[tuple[int, Encoding]]]:
    """Batches of as many tokens as fit into `budget`; the last one may be smaller."""
    some: list[tuple[int, Encoding]] = []
    tokens = 0
    for slot, encoding in numbered:
        if tokens + len(encoding) > budget:
            yield some
            some, tokens = [], 0
        some.append((slot, encoding))
        tokens += len(encoding)
    yield some
