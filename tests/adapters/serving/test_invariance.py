"""An answer does not depend on batch-mates, batch size, adapter mix or eviction history."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.adapter import Adapter
from adapters.backbone import native
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.backbone.text_encoder import Encoding
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from service.engine.engine import Engine
from tests.support.factories import make_adapter
from tests.support.invariance import BATCH_TOLERANCE, same_answer, tolerance_of

WORDS = ["a", "good", "film", "the", "plot", "is", "dull", "and", "actor", "bad", "one", "cat", "sees", "dog", "wine"]
NUM_ADAPTERS = 4
NUM_TEXTS = 8
POOLINGS = ("mean", "cls", "pooler")


@dataclass
class Served:
    """An engine with adapters in slots, and what each input gives alone for each adapter."""

    loaded: LoadedBackbone
    adapters: list[Adapter]
    encodings: list[Encoding]

    def __post_init__(self) -> None:
        identity, backbone = self.loaded.identity, self.loaded.backbone
        self.bank = AdapterBank(identity.hidden_size, backbone.device, backbone.dtype)
        packed = copy.deepcopy(backbone).pack()
        self.tolerance = tolerance_of(packed)
        self.engine = Engine(packed, self.bank, num_threads=2)
        self.slots = list(range(len(self.adapters)))
        for slot, adapter in zip(self.slots, self.adapters, strict=True):
            self.bank.write(slot, adapter)
        self.alone = [
            [self.engine.forward(BatchTokens.of([(slot, [encoding])]))[0][0] for encoding in self.encodings]
            for slot in self.slots
        ]

    def reload(self, index: int) -> None:
        """Evict an adapter and load it again, into another slot."""
        self.bank.clear(self.slots[index])
        self.slots[index] = max(self.slots) + 1
        self.bank.write(self.slots[index], self.adapters[index])


def served(loaded: LoadedBackbone, p: int) -> Served:
    layers = range(loaded.identity.num_layers)
    adapters = [
        make_adapter(identity=loaded.identity, p=p + seed % 2, layers=layers, seed=seed, pooling=POOLINGS[seed % 3])
        for seed in range(NUM_ADAPTERS)
    ]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 40))) for _ in range(NUM_TEXTS)]
    return Served(loaded, adapters, loaded.encoder.encode(texts, max_length=64))


@pytest.fixture(scope="module", params=["C", "torch"])
def on_tiny(tiny: LoadedBackbone, request: pytest.FixtureRequest) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr(native, "library", lambda: None)
        yield served(tiny, p=3)


@pytest.fixture(scope="module")
def on_real(real: LoadedBackbone) -> Served:
    return served(real, p=12)


@pytest.fixture(scope="module")
def on_real_bfloat16() -> Served:
    return served(load_backbone(dtype=torch.bfloat16), p=12)


MEMBERS = st.lists(st.tuples(st.integers(0, NUM_ADAPTERS - 1), st.integers(0, NUM_TEXTS - 1)), min_size=1, max_size=16)


def check(served: Served, members: list[tuple[int, int]], evicted: list[int]) -> None:
    """Every member of the batch, in this order of segments, has the answer that it has alone."""
    for index in evicted:
        served.reload(index)
    segments: dict[int, list[int]] = {}
    for adapter, text in members:
        segments.setdefault(adapter, []).append(text)
    batch = BatchTokens.of(
        [(served.slots[adapter], [served.encodings[text] for text in texts]) for adapter, texts in segments.items()]
    )
    for (adapter, texts), rows in zip(segments.items(), served.engine.forward(batch), strict=True):
        for text, row in zip(texts, rows, strict=True):
            alone = served.alone[adapter][text]
            assert same_answer(alone, row, served.tolerance), float(np.abs(row - alone).max())


EVICTED = st.lists(st.integers(0, NUM_ADAPTERS - 1), max_size=3)
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(MEMBERS, EVICTED)
def test_on_the_tiny_backbone(on_tiny: Served, members: list[tuple[int, int]], evicted: list[int]) -> None:
    """The answer of an input does not depend on its batch-mates, their order, or earlier evictions."""
    check(on_tiny, members, evicted)
    assert len(on_tiny.bank._slots) == NUM_ADAPTERS


@settings(max_examples=8, deadline=None, suppress_health_check=SLOW)
@given(MEMBERS, EVICTED)
def test_on_the_default_backbone(on_real: Served, members: list[tuple[int, int]], evicted: list[int]) -> None:
    """Answers of the default backbone do not depend on their batch either."""
    check(on_real, members, evicted)
    assert len(on_real.bank._slots) == NUM_ADAPTERS


@settings(max_examples=3, deadline=None, suppress_health_check=SLOW)
@given(MEMBERS, EVICTED)
def test_in_bfloat16(on_real_bfloat16: Served, members: list[tuple[int, int]], evicted: list[int]) -> None:
    """In bfloat16 answers depend on their batch no more than in float32."""
    check(on_real_bfloat16, members, evicted)
    assert len(on_real_bfloat16.bank._slots) == NUM_ADAPTERS


def test_the_tolerance_tells_adapters_apart(on_tiny: Served) -> None:
    """Another adapter's answer to the same input is far outside it: a mix-up cannot pass for rounding."""
    tolerance = max(BATCH_TOLERANCE["cpu", on_tiny.loaded.backbone.dtype], 1e-5)
    for text in range(NUM_TEXTS):
        answers = np.array([logits[text] for logits in on_tiny.alone])
        apart = np.abs(answers[:, None] - answers[None]).max(-1)[~np.eye(NUM_ADAPTERS, dtype=bool)]
        assert apart.min() > 20 * tolerance


def test_the_same_batch_gives_the_same_bits(on_tiny: Served) -> None:
    """Computed again, after eviction and reload too, a batch of the same shape has the same logits to the bit."""
    segments = [(index, on_tiny.encodings[index : index + 3]) for index in range(NUM_ADAPTERS)]
    before = on_tiny.engine.forward(BatchTokens.of([(on_tiny.slots[index], items) for index, items in segments]))
    for index in range(NUM_ADAPTERS):
        on_tiny.reload(index)
    after = on_tiny.engine.forward(BatchTokens.of([(on_tiny.slots[index], items) for index, items in segments]))
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
