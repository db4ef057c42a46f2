"""The engine alone against the bare matrix products of the same card, on BERT-base's shapes and the default backbone.

Random tokens in texts of 4 to 128 tokens, about 30 on average, dealt out over 1, 64 and 4,096 adapters (r = 48 in every
layer). The engine gets two batches at a time, so that the host prepares one while the device computes the other. Beside
it: the device's part alone (the prepared batch launched again and again), the same without adapters, and the backbone's
matrix products by torch, in one CUDA graph with weights of their own.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from adapters.backbone.encoder import Backbone
from adapters.backbone.files import BertShape
from adapters.backbone.source import load_backbone
from adapters.backbone.text_encoder import Encoding
from adapters.config import BackboneIdentity
from adapters.cuda import forward as cuda_forward
from adapters.cuda.forward import CudaForward
from adapters.cuda.graphs import CudaGraphs
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from benchmarks.adapters import random_adapter
from benchmarks.engine.alone import filled, make_batch
from benchmarks.engine.roofline import Products
from benchmarks.gpu.findings import Recorder
from benchmarks.gpu.scale import Surroundings
from benchmarks.report import Target
from service.engine.engine import Engine

NUM_DIFFERENT = 64  # adapters; each slot has its own memory, but contents repeat
WANTED_SHARE = 0.5
MEAN_TOKENS = 30
NO_DIGEST = "0" * 64

Capture = Callable[[Callable[[], object]], Callable[[], None]]


def random_texts(number: int, vocabulary: int, longest: int, seed: int = 0) -> list[Encoding]:
    """Make texts of random tokens; log-normal lengths with a mean of about 30 tokens, like sentences."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(generator.lognormal(3.2, 0.6, number), 4, min(128, longest)).astype(int)
    return [
        Encoding(generator.integers(1, vocabulary, length), np.zeros(length, dtype=np.int64), False)
        for length in lengths.tolist()
    ]


def make_batches(encodings: Sequence[Encoding], num_adapters: int, budget: int) -> list[BatchTokens]:
    """Make batches within the token budget; text i is for adapter i mod num_adapters."""
    numbered = [(number % num_adapters, encoding) for number, encoding in enumerate(encodings)]
    return [make_batch(some) for some in filled(numbered, budget)]


def random_backbone(shape: BertShape, device: str, dtype: torch.dtype) -> Backbone:
    """Make a BERT of that shape with random weights."""
    identity = BackboneIdentity(
        name="random",
        hidden_size=shape.hidden_size,
        num_layers=shape.num_hidden_layers,
        weights_sha256=NO_DIGEST,
        tokenizer_sha256=NO_DIGEST,
    )
    return Backbone(shape, identity, has_pooler=False).to(device=device, dtype=dtype)


class Bench:
    """One backbone on one device with its bank and engines; `capture` is None where there are no graphs."""

    def __init__(self, backbone: Backbone, max_tokens: int, capture: Capture | None) -> None:
        self.backbone, self._max_tokens, self._capture = backbone, max_tokens, capture
        self.bank = AdapterBank(backbone.identity.hidden_size, backbone.device, backbone.dtype)
        self._adapters = [random_adapter(backbone.identity, seed=seed) for seed in range(NUM_DIFFERENT)]
        self._num_written = 0
        self.forward = self._make_forward()
        self.engine = Engine(backbone, self.bank, cuda=self.forward)
        with without_adapters():
            self.bare = self._make_forward()

    def _make_forward(self) -> CudaForward:
        forward = CudaForward(self.backbone, self.bank, max_batch_tokens=self._max_tokens, capture=self._capture)
        forward.warm_up()
        return forward

    def fill(self, num_adapters: int) -> None:
        """Have adapters in the slots [0, num_adapters)."""
        for slot in range(self._num_written, num_adapters):
            self.bank.write(slot, self._adapters[slot % NUM_DIFFERENT])
        self._num_written = max(self._num_written, num_adapters)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.backbone.device.type == "cuda":
            torch.cuda.synchronize(self.backbone.device)

    def engine_rate(self, batches: Sequence[BatchTokens], seconds: float) -> float:
        """Tokens a second of the engine, with two batches under way at any time."""
        return asyncio.run(self._engine_rate(batches, seconds))

    async def _engine_rate(self, batches: Sequence[BatchTokens], seconds: float) -> float:
        coming, end, num_tokens = itertools.cycle(batches), time.perf_counter() + seconds, 0

        async def lane() -> None:
            nonlocal num_tokens
            while time.perf_counter() < end:
                batch = next(coming)
                await self.engine.compute(await self.engine.prepare(batch))
                num_tokens += batch.num_tokens

        started = time.perf_counter()
        await asyncio.gather(lane(), lane())
        return num_tokens / (time.perf_counter() - started)

    @torch.inference_mode()
    def device_rate(self, forward: CudaForward, batches: Sequence[BatchTokens], seconds: float) -> float:
        """Tokens a second of launches alone: batches prepared beforehand, no answer waited for."""
        prepared = [forward.prepare(batch) for batch in batches]
        return self.rate([lambda one=one: forward._launch(one) for one in prepared], batches, seconds)  # type: ignore[misc]

    @torch.inference_mode()
    def rate(self, runs: Sequence[Callable[[], object]], batches: Sequence[BatchTokens], seconds: float) -> float:
        """Tokens a second of `runs`, one for each batch, launched again and again and waited for at the end."""
        num_tokens = sum(batch.num_tokens for batch in batches)
        for run in runs:
            run()
        self.synchronize()
        started, passes = time.perf_counter(), 0
        while passes == 0 or time.perf_counter() - started < seconds:
            for run in runs:
                run()
            passes += 1
            self.synchronize()
        return passes * num_tokens / (time.perf_counter() - started)

    def products(self, batches: Sequence[BatchTokens]) -> tuple[Callable[[], object], float]:
        """Return the products of a batch of the mean size, and FLOP a token."""
        num_tokens = round(statistics.mean(batch.num_tokens for batch in batches))
        sizes = self.backbone.identity
        made = Products(sizes.num_layers, sizes.hidden_size, num_tokens, self.backbone.device, self.backbone.dtype)
        once = torch.inference_mode()(lambda: made.run(num_tokens))
        replay = once if self._capture is None else self._capture(once)

        def run() -> None:
            replay()
            assert made.layers  # a graph does not keep the tensors that it reads and writes

        return run, made.flops_per_token


@contextmanager
def without_adapters() -> Iterator[None]:
    """Let forwards that are captured or launched inside leave the adapters out."""
    add_adapters = cuda_forward.add_adapters

    def leave_out(h: Tensor, *tables: object) -> Tensor:
        return h

    cuda_forward.add_adapters = leave_out
    try:
        yield
    finally:
        cuda_forward.add_adapters = add_adapters


def measure(bench: Bench, name: str, surroundings: Surroundings, record: Recorder) -> float:
    """Record a row for each number of adapters and budget; return the best share with the most adapters."""
    scale, shares = surroundings.scale, list[float]()
    vocabulary, longest = bench.backbone.word.num_embeddings, bench.backbone.max_positions
    for num_adapters in scale.num_adapters:
        bench.fill(num_adapters)
        for budget in scale.budgets:
            texts = random_texts(2 * scale.num_batches * budget // MEAN_TOKENS, vocabulary, longest)
            batches = make_batches(texts, num_adapters, budget)[: scale.num_batches]
            products, flops = bench.products(batches)
            part_s = scale.seconds / 4 / scale.rounds
            bench.engine_rate(batches, part_s)
            turns: dict[str, list[float]] = {kind: [] for kind in ("products", "engine", "device", "bare")}
            for _ in range(scale.rounds):
                turns["products"].append(bench.rate([products] * len(batches), batches, part_s))
                turns["engine"].append(bench.engine_rate(batches, part_s))
                turns["device"].append(bench.device_rate(bench.forward, batches, part_s))
                with without_adapters():
                    turns["bare"].append(bench.device_rate(bench.bare, batches, part_s))
            rates = {kind: statistics.median(values) for kind, values in turns.items()}
            shares.append(rates["engine"] / rates["products"])
            record.row(
                backbone=name,
                adapters=num_adapters,
                budget=budget,
                adapters_a_batch=round(statistics.mean(len(batch.slots) for batch in batches)),
                engine_tokens_s=rates["engine"],
                device_tokens_s=rates["device"],
                products_tokens_s=rates["products"],
                products_TFLOPs=rates["products"] * flops / 1e12,
                engine_of_products=shares[-1],
                device_of_products=rates["device"] / rates["products"],
                adapters_cost=rates["bare"] / rates["device"] - 1,
            )
    return max(shares[-len(scale.budgets) :])


def run(surroundings: Surroundings, record: Recorder) -> None:
    """Measure both backbones."""
    scale, device, dtype = surroundings.scale, surroundings.device, surroundings.dtype
    capture = CudaGraphs(torch.device(device, 0)).capture if device == "cuda" else None
    if capture is None:
        record.note("No CUDA graphs and no bfloat16: there is no CUDA device. Triton's interpreter runs the kernels.")
    shape = BertShape()
    if surroundings.small:
        shape = BertShape(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=128)
    name = f"random weights, {shape.num_hidden_layers} layers, H = {shape.hidden_size}"
    base = Bench(random_backbone(shape, device, dtype), max(scale.budgets), capture)
    share = measure(base, name, surroundings, record)
    claim = f"engine of the plain products, {max(scale.num_adapters):,} adapters, best budget, {name}"
    record.target(Target(claim, share, "at least", WANTED_SHARE))
    del base
    loaded = load_backbone(surroundings.backbone, device=device, dtype=dtype)
    served = Bench(loaded.backbone, max(scale.budgets), capture)
    measure(served, loaded.identity.name.rpartition("/")[2], surroundings, record)
