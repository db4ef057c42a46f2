"""The engine: mixed batches, each answer as if it had been alone."""

import asyncio
import copy
import os
import sys
import threading

import numpy as np
import pytest
import torch
from transformers import BertModel

from adapters.adapter import Adapter
from adapters.backbone.files import locate
from adapters.backbone.source import LoadedBackbone
from adapters.config import DEFAULT_BACKBONE
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from adapters.serving.inference import predict_logits
from service.engine.engine import Engine, PreparedBatch, Shard
from tests.support.factories import make_adapter
from tests.support.reference import reference_logits

TEXTS = ["a good film", "the plot is dull and the actor is bad", "?", "one two three four five", "the cat sees a dog"]


def engine_with(loaded: LoadedBackbone, adapters: list[Adapter], num_threads: int = 1) -> Engine:
    """Make an engine as a server has it, on a packed copy of the backbone."""
    bank = AdapterBank(loaded.identity.hidden_size, loaded.backbone.device, loaded.backbone.dtype)
    for slot, adapter in enumerate(adapters):
        bank.write(slot, adapter)
    return Engine(copy.deepcopy(loaded.backbone).pack(), bank, num_threads)


def all_kinds(loaded: LoadedBackbone) -> list[Adapter]:
    layers = range(loaded.identity.num_layers)
    return [
        make_adapter(identity=loaded.identity, layers=layers, seed=1),
        make_adapter(identity=loaded.identity, layers=layers, seed=2, labels=tuple("abcde"), pooling="cls"),
        make_adapter(identity=loaded.identity, layers=(1,), seed=3, type="regression", labels=(), pooling="pooler"),
        make_adapter(identity=loaded.identity, layers=layers, seed=4, type="multi_label", labels=("x",), p=5, q=2),
    ]


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("backbone", ["tiny", "real"])
def test_mixed_batch_equals_each_input_alone(backbone: str, request: pytest.FixtureRequest) -> None:
    """Each answer of one forward over four adapters equals the slow reference's for that input alone."""
    loaded: LoadedBackbone = request.getfixturevalue(backbone)
    bert = BertModel.from_pretrained(loaded.identity.name if backbone == "tiny" else locate(DEFAULT_BACKBONE)).eval()
    adapters = all_kinds(loaded)
    encodings = loaded.encoder.encode(TEXTS, max_length=64)
    shares = [encodings[:2], encodings[2:3], encodings[1:4], encodings]
    results = engine_with(loaded, adapters).forward(BatchTokens.of(list(enumerate(shares))))
    for adapter, share, logits in zip(adapters, shares, results, strict=True):
        assert logits.shape == (len(share), adapter.metadata.task.num_outputs)
        assert logits.dtype == np.float32
        for encoding, row in zip(share, logits, strict=True):
            assert np.abs(row - reference_logits(bert, encoding, adapter)).max() < 1e-5


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("seed", range(4))
def test_answers_do_not_depend_on_batch_mates(real: LoadedBackbone, seed: int) -> None:
    """An input's logits stay within 1e-5 for any batch-mates in any order."""
    rng = np.random.default_rng(seed)
    adapters = [make_adapter(identity=real.identity, p=12, layers=range(6), seed=10 + i) for i in range(4)]
    engine = engine_with(real, adapters)
    words = " ".join(TEXTS).split()
    texts = [" ".join(rng.choice(words, rng.integers(1, 40))) for _ in range(24)]
    encodings = real.encoder.encode(texts, max_length=64)
    alone = [engine.forward(BatchTokens.of([(i % 4, [encoding])]))[0][0] for i, encoding in enumerate(encodings)]
    chosen = rng.permutation(24)[: rng.integers(4, 25)]
    segments = [(slot, [i for i in chosen if i % 4 == slot]) for slot in rng.permutation(4)]
    segments = [(int(slot), members) for slot, members in segments if members]
    results = engine.forward(BatchTokens.of([(slot, [encodings[i] for i in members]) for slot, members in segments]))
    for (_, members), logits in zip(segments, results, strict=True):
        for index, row in zip(members, logits, strict=True):
            assert np.abs(row - alone[index]).max() < 1e-5


@pytest.mark.usefixtures("kernels")
def test_training_and_serving_agree(real: LoadedBackbone) -> None:
    """The module that trains and the bank that serves give the same logits."""
    adapter = make_adapter(identity=real.identity, p=12, layers=range(6), dtype=torch.float16)
    encodings = real.encoder.encode(TEXTS, max_length=64)
    (served,) = engine_with(real, [adapter]).forward(BatchTokens.of([(0, encodings)]))
    assert np.abs(served - predict_logits(real, adapter, TEXTS)).max() < 1e-5


@pytest.mark.usefixtures("kernels")
def test_empty_slot_is_an_error(tiny: LoadedBackbone) -> None:
    """A batch for a slot that holds nothing fails: the bare backbone never answers."""
    engine = engine_with(tiny, [])
    with pytest.raises(KeyError):
        engine.forward(BatchTokens.of([(0, tiny.encoder.encode(["a"], max_length=8))]))


@pytest.mark.usefixtures("kernels")
async def test_shards_in_their_threads_answer_as_one(real: LoadedBackbone) -> None:
    """Cut over several threads, a segment across them included, a batch gives the same logits."""
    adapters = all_kinds(real)
    encodings = real.encoder.encode([" ".join(TEXTS)] * 5 + TEXTS * 3, max_length=64)
    batch = BatchTokens.of([(slot, encodings[slot:]) for slot in range(4)])
    whole = engine_with(real, adapters).forward(batch)
    engine = engine_with(real, adapters, num_threads=3)
    prepared = await engine.prepare(batch)
    assert isinstance(prepared, PreparedBatch)
    assert len(prepared.shards) == 3
    assert sum(len(shard.pieces) for shard in prepared.shards) > len(batch.slots)
    for expected, logits in zip(whole, await engine.compute(prepared), strict=True):
        assert np.abs(logits - expected).max() < 1e-5
    engine.close()


async def test_a_small_batch_is_prepared_where_it_is_computed(real: LoadedBackbone) -> None:
    """One short text changes threads once, is not cut, and gets the logits of `forward`."""
    engine = engine_with(real, all_kinds(real), num_threads=2)
    encodings = real.encoder.encode(TEXTS, max_length=8)
    batch = BatchTokens.of([(slot, encodings) for slot in range(4)])
    prepared = await engine.prepare(batch)
    assert prepared is batch
    for expected, logits in zip(engine.forward(batch), await engine.compute(prepared), strict=True):
        assert np.array_equal(logits, expected)
    engine.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own")
async def test_threads_that_compute_make_way(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their nice value is five more than that of the thread that made them, whatever the size of the batch."""
    engine = engine_with(tiny, [make_adapter(identity=tiny.identity)], num_threads=2)
    forward, found = engine._forward, list[int]()

    def forward_and_look(shard: Shard) -> list[np.ndarray]:
        found.append(os.getpriority(os.PRIO_PROCESS, 0))
        return forward(shard)

    monkeypatch.setattr(engine, "_forward", forward_and_look)
    for num_texts in (1, 100):
        encodings = tiny.encoder.encode(["a a a"] * num_texts, max_length=8)
        await engine.compute(await engine.prepare(BatchTokens.of([(0, encodings)])))
    assert set(found) == {min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)}
    engine.close()


@pytest.mark.parametrize(("num_tokens", "num_shards"), [(195, 2), (1020, 2), (1025, 4), (4095, 4)])
async def test_every_thread_gets_as_many_shards(tiny: LoadedBackbone, num_tokens: int, num_shards: int) -> None:
    """One or two for each of two threads: a third would leave one of them without work for half of the time."""
    engine = engine_with(tiny, [make_adapter(identity=tiny.identity)], num_threads=2)
    encodings = tiny.encoder.encode(["a a a"] * (num_tokens // 5), max_length=8)
    assert sum(map(len, encodings)) == num_tokens
    prepared = await engine.prepare(BatchTokens.of([(0, encodings)]))
    assert isinstance(prepared, PreparedBatch)
    assert len(prepared.shards) == num_shards
    engine.close()


async def test_a_failing_shard_waits_for_the_others(real: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch one shard of which fails has failed only when the others have ended: until then they use the slots."""
    engine = engine_with(real, [make_adapter(identity=real.identity, p=12, layers=range(6))], num_threads=2)
    prepared = await engine.prepare(BatchTokens.of([(0, real.encoder.encode([" ".join(TEXTS)] * 20, max_length=64))]))
    assert isinstance(prepared, PreparedBatch)
    first, _ = prepared.shards
    failed, let_go = threading.Event(), threading.Event()

    def forward(shard: Shard) -> list[np.ndarray]:
        if shard is first:
            failed.set()
            raise ValueError("broken")
        let_go.wait(10)
        return []

    monkeypatch.setattr(engine, "_forward", forward)
    computing = asyncio.create_task(engine.compute(prepared))
    await asyncio.to_thread(failed.wait, 10)
    await asyncio.sleep(0)
    assert not computing.done()
    let_go.set()
    with pytest.raises(ValueError, match="broken"):
        await computing
    engine.close()
