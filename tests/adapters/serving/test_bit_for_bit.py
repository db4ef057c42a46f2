"""On the CPU, with the kernels in C, an answer does not change by one bit with its batch, its shard or its thread."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.backbone.encoder import Backbone
from adapters.backbone.layers import can_pack
from adapters.backbone.native import library
from adapters.backbone.quantized import INT8, load_packed, quantize, why_not_int8
from adapters.backbone.text_encoder import Encoding
from adapters.config import DEFAULT_BACKBONE
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from service.engine.engine import Engine
from tests.adapters.backbone.test_encoder import identity_of, random_bert
from tests.support.factories import make_adapter
from tests.support.reference import backbone_of

LENGTHS = (1, 2, 3, 5, 8, 15, 16, 17, 28, 31, 64, 100, 128, 250, 511, 512)
ADAPTERS = (("mean", 12, 4), ("cls", 3, 5), ("pooler", 1, 1))  # pooling, p, q
MAX_TOKENS = 4096
THREADS = (1, 2, 3)
SHAPES = {  # of random backbones
    "base": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    "small": {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
    "odd": {"hidden_size": 120, "num_attention_heads": 5, "intermediate_size": 344, "hidden_act": "gelu_new"},
}


@dataclass
class Exact:
    """Engines with one to three threads, and the logits of every text alone, by adapter."""

    engines: dict[int, Engine]
    encodings: list[Encoding]
    alone: list[list[np.ndarray]]

    @classmethod
    def of(cls, backbone: Backbone) -> "Exact":
        bank = AdapterBank(backbone.identity.hidden_size, "cpu", backbone.dtype)
        layers = range(backbone.identity.num_layers)
        for slot, (pooling, p, q) in enumerate(ADAPTERS):
            adapter = make_adapter(
                identity=backbone.identity, p=p, q=q, layers=layers, seed=slot, pooling=pooling, labels=("a", "b", "c")
            )
            bank.write(slot, adapter)
        rng = np.random.default_rng(0)
        encodings = [
            Encoding(rng.integers(0, 200, length), np.zeros(length, dtype=np.int64), truncated=False)
            for length in LENGTHS
        ]
        engines = {num_threads: Engine(backbone, bank, num_threads) for num_threads in THREADS}
        alone = [
            [engines[1].forward(BatchTokens.of([(slot, [encoding])]))[0][0] for encoding in encodings]
            for slot in range(len(ADAPTERS))
        ]
        return cls(engines, encodings, alone)


@pytest.fixture(scope="module", params=["float32", "bfloat16", INT8])
def dtype(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == INT8 and (reason := why_not_int8("cpu")):
        pytest.skip(reason)
    if name != INT8 and (library() is None or not can_pack(torch.device("cpu"), getattr(torch, name))):
        pytest.skip("torch computes here, within a tolerance: tests/adapters/serving/test_invariance.py")
    return name


@pytest.fixture(scope="module")
def on_default(dtype: str) -> Exact:
    return Exact.of(load_packed(DEFAULT_BACKBONE, dtype=dtype).backbone)


@pytest.fixture(scope="module", params=SHAPES)
def on_random(request: pytest.FixtureRequest, dtype: str) -> Exact:
    torch.manual_seed(0)
    bert = random_bert(num_hidden_layers=2, max_position_embeddings=512, **SHAPES[request.param])
    backbone = backbone_of(bert, identity_of(bert))
    if dtype == INT8:
        return Exact.of(quantize(backbone))
    return Exact.of(backbone.convert("cpu", getattr(torch, dtype)).pack())


MEMBERS = st.lists(
    st.tuples(st.integers(0, len(ADAPTERS) - 1), st.integers(0, len(LENGTHS) - 1)), min_size=1, max_size=70
)
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def check(exact: Exact, members: list[tuple[int, int]], num_threads: int) -> None:
    """Each member's logits in this batch, in segments of neighbours with one adapter, are those that it has alone."""
    segments: list[tuple[int, list[int]]] = []
    num_tokens = 0
    for adapter, text in members:
        num_tokens += LENGTHS[text]
        if num_tokens > MAX_TOKENS:
            break
        if not segments or segments[-1][0] != adapter:
            segments.append((adapter, []))
        segments[-1][1].append(text)
    batch = BatchTokens.of([(adapter, [exact.encodings[text] for text in texts]) for adapter, texts in segments])
    for (adapter, texts), rows in zip(segments, exact.engines[num_threads].forward(batch), strict=True):
        for text, row in zip(texts, rows, strict=True):
            assert np.array_equal(row, exact.alone[adapter][text]), (LENGTHS[text], row - exact.alone[adapter][text])


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(MEMBERS, st.sampled_from(THREADS))
def test_on_the_default_backbone(on_default: Exact, members: list[tuple[int, int]], num_threads: int) -> None:
    """From 1 to 4,096 tokens, in any order and company and any number of shards, no bit of a logit changes."""
    check(on_default, members, num_threads)
    assert all(np.isfinite(logits).all() for alone in on_default.alone for logits in alone)


@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
@given(MEMBERS, st.sampled_from(THREADS))
def test_on_random_backbones(on_random: Exact, members: list[tuple[int, int]], num_threads: int) -> None:
    """Answers stay bit for bit on two layers of BERT-base, and on shapes whose rows fill no widest vector."""
    check(on_random, members, num_threads)
    assert all(np.isfinite(logits).all() for alone in on_random.alone for logits in alone)


def test_texts_differ(on_default: Exact) -> None:
    """Two texts, or one text with two adapters, have different logits: equality above says something."""
    flat = [tuple(logits) for alone in on_default.alone for logits in alone]
    assert len(set(flat)) == len(flat)
