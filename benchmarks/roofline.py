"""The engine alone on mixed batches against the plain matrix products inside it.

The same batches in turn: the backbone's matrix products of the same sizes and nothing else; the engine without
adapters; the engine with every input's adapter. 64 adapters in equal shares, one text an input.

    python -m benchmarks.roofline

Writes benchmarks/results/roofline.json.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from adapters.bank import AdapterBank
from adapters.encoding import Encoding
from adapters.source import load_backbone
from benchmarks.adapters import random_adapter
from benchmarks.sentences import single_texts
from service.core import Batch, Part, Request, Segment
from service.engine import Engine, PreparedBatch

NUM_ADAPTERS = 64
LAYER_SHAPES = ((1, 3), (1, 1), (1, 4), (4, 1))  # inputs and outputs of a layer's products, in multiples of H


def mixed_batches(encodings: Sequence[Encoding], max_tokens: int) -> list[Batch]:
    """Full batches under the token budget; input i is for adapter i mod 64."""
    batches, members, num_tokens = [], dict[int, list[Encoding]](), 0
    for index, encoding in enumerate(encodings):
        if num_tokens + len(encoding) > max_tokens:
            batches.append(members)
            members, num_tokens = {}, 0
        members.setdefault(index % NUM_ADAPTERS, []).append(encoding)
        num_tokens += len(encoding)
    return [
        Batch([Segment(slot, [Part(_request(slot, chosen), 0, chosen)]) for slot, chosen in members.items()])
        for members in batches
    ]


def _request(slot: int, encodings: list[Encoding]) -> Request:
    return Request("task", slot, encodings, done=None)  # type: ignore[arg-type]  # nobody waits for it


class Products:
    """The matrix products of a backbone's layers, with weights of their own."""

    def __init__(self, num_layers: int, hidden: int, max_tokens: int) -> None:
        sizes = [(a * hidden, b * hidden) for a, b in LAYER_SHAPES]
        self.layers = [[torch.randn(size) * 0.02 for size in sizes] for _ in range(num_layers)]
        self.inputs = {size: torch.randn(max_tokens, size) for size, _ in sizes}
        self.outputs = {size: torch.empty(max_tokens, size) for _, size in sizes}
        self.flops_per_token = 2 * num_layers * sum(a * b for a, b in sizes)

    def run(self, num_tokens: int) -> None:
        """One forward's worth."""
        for layer in self.layers:
            for weight in layer:
                size, width = weight.shape
                torch.mm(self.inputs[size][:num_tokens], weight, out=self.outputs[width][:num_tokens])


def measure(num_texts: int, repeats: int, max_tokens: int) -> dict[str, object]:
    """Medians of `repeats` turns."""
    num_threads = torch.get_num_threads()
    loaded = load_backbone()
    hidden, num_layers = loaded.identity.hidden_size, loaded.identity.num_layers
    bank = AdapterBank(hidden, loaded.backbone.device, loaded.backbone.dtype)
    for slot in range(NUM_ADAPTERS):
        bank.write(slot, random_adapter(loaded.identity, seed=slot))
    encodings = loaded.encoder.encode(single_texts(num_texts), max_length=128)
    batches = mixed_batches(encodings, max_tokens)
    num_tokens = sum(batch.num_tokens for batch in batches)
    products = Products(num_layers, hidden, max_tokens)
    engine = Engine(loaded.backbone.pack(), bank, num_threads)
    prepared = [engine._prepare(batch) for batch in batches]

    def plain() -> None:
        for batch in batches:
            products.run(batch.num_tokens)

    async def compute(some: Sequence[PreparedBatch]) -> None:
        for batch in some:
            await engine.compute(batch)

    def with_adapters() -> None:
        asyncio.run(compute(prepared))

    def without() -> None:
        apply, bank.apply = bank.apply, lambda layer, h, segments: h  # type: ignore[method-assign]
        asyncio.run(compute(prepared))
        bank.apply = apply  # type: ignore[method-assign]

    seconds = turns({"products": plain, "without": without, "engine": with_adapters}, repeats)
    engine.close()
    fractions = [a / b for a, b in zip(seconds["products"], seconds["engine"], strict=True)]
    shares = [a / b - 1 for a, b in zip(seconds["engine"], seconds["without"], strict=True)]
    return {
        "threads": num_threads,
        "tokens": num_tokens,
        "tokens_per_text": round(num_tokens / sum(batch.num_inputs for batch in batches), 1),
        "max_batch_tokens": max_tokens,
        "products_tokens_per_s": round(num_tokens / statistics.median(seconds["products"])),
        "products_gflops": round(num_tokens * products.flops_per_token / statistics.median(seconds["products"]) / 1e9),
        "engine_tokens_per_s": round(num_tokens / statistics.median(seconds["engine"])),
        "fraction": round(statistics.median(fractions), 3),
        "adapters_share": round(statistics.median(shares), 3),
    }


@torch.inference_mode()
def turns(functions: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each function, `repeats` times, one after the other; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(repeats + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.manual_seed(0)
    for max_tokens in (512, 1024, 2048, 4096):
        print(measure(options.texts, options.repeats, max_tokens), flush=True)


if __name__ == "__main__":
    main()
