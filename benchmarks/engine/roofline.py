"""The engine alone on mixed batches against the plain matrix products inside it.

The same batches in turn, in float32 and in bfloat16: the backbone's matrix products of the same sizes and nothing else,
with oneDNN's packed weights; the engine without adapters; the engine with every input's adapter. 64 adapters in equal
shares, one text an input. Seconds are the processor time of the process, in one thread for each product, so that other
programs disturb them less; that the shards of a batch end one after the other is not in them.

    python -m benchmarks.engine.roofline

Writes benchmarks/results/roofline.json.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from adapters.backbone.source import load_backbone
from adapters.serving.bank import AdapterBank
from benchmarks.adapters import random_adapter
from benchmarks.engine.alone import filled, make_batch
from benchmarks.report import Target, report
from benchmarks.sentences import single_texts
from service.engine.engine import Engine
from service.processes.cgroups import usable_cpus

NUM_ADAPTERS = 64
LEAST = {torch.float32: 0.85, torch.bfloat16: 0.65}  # of the products
LAYER_SHAPES = ((1, 3), (1, 1), (1, 4), (4, 1))  # inputs and outputs of a layer's products, in multiples of H


class Products:
    """The matrix products of a backbone's layers, with weights of their own."""

    def __init__(
        self,
        num_layers: int,
        hidden: int,
        max_tokens: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        sizes = [(a * hidden, b * hidden) for a, b in LAYER_SHAPES]
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.layers = [[torch.randn(size, **made) * 0.02 for size in sizes] for _ in range(num_layers)]
        self.inputs = {size: torch.randn(max_tokens, size, **made) for size, _ in sizes}
        self.outputs = {size: torch.empty(max_tokens, size, **made) for _, size in sizes}
        self.flops_per_token = 2 * num_layers * sum(a * b for a, b in sizes)

    def run(self, num_tokens: int) -> None:
        """One forward's worth."""
        for layer in self.layers:
            for weight in layer:
                size, width = weight.shape
                torch.mm(self.inputs[size][:num_tokens], weight, out=self.outputs[width][:num_tokens])


class PackedProducts(Products):
    """Plain products on a CPU, with weights in oneDNN's layout: MKL, behind torch.mm, is slow on AMD processors."""

    def __init__(self, num_layers: int, hidden: int, max_tokens: int, dtype: torch.dtype) -> None:
        super().__init__(num_layers, hidden, max_tokens, dtype=dtype)
        self.shapes = [tuple(weight.shape) for weight in self.layers[0]]
        pack = torch.ops.mkldnn._reorder_linear_weight
        self.layers = [[pack(weight.T.contiguous(), None) for weight in layer] for layer in self.layers]

    def run(self, num_tokens: int) -> None:
        for layer in self.layers:
            for weight, (size, _) in zip(layer, self.shapes, strict=True):
                torch.ops.mkldnn._linear_pointwise(self.inputs[size][:num_tokens], weight, None, "none", [], "none")


def measure(num_texts: int, repeats: int, max_tokens: int, dtype: torch.dtype, num_threads: int) -> dict[str, Any]:
    """Medians of `repeats` turns."""
    loaded = load_backbone(dtype=dtype)
    hidden, num_layers = loaded.identity.hidden_size, loaded.identity.num_layers
    bank = AdapterBank(hidden, loaded.backbone.device, loaded.backbone.dtype)
    for slot in range(NUM_ADAPTERS):
        bank.write(slot, random_adapter(loaded.identity, seed=slot))
    encodings = loaded.encoder.encode(single_texts(num_texts), max_length=128)
    numbered = [(index % NUM_ADAPTERS, encoding) for index, encoding in enumerate(encodings)]
    batches = [make_batch(some) for some in filled(numbered, max_tokens)]
    num_tokens = sum(batch.num_tokens for batch in batches)
    products = PackedProducts(num_layers, hidden, max_tokens, dtype)
    engine = Engine(loaded.backbone.pack(), bank, num_threads)

    def plain() -> None:
        for batch in batches:
            products.run(batch.num_tokens)

    def with_adapters() -> None:
        for batch in batches:
            engine.forward(batch)

    def without() -> None:
        site, bank.site = bank.site, lambda segments: None  # type: ignore[method-assign]
        with_adapters()
        bank.site = site  # type: ignore[method-assign]

    seconds = turns({"products": plain, "without": without, "engine": with_adapters}, repeats)
    engine.close()
    fractions = [a / b for a, b in zip(seconds["products"], seconds["engine"], strict=True)]
    shares = [a / b - 1 for a, b in zip(seconds["engine"], seconds["without"], strict=True)]
    return {
        "type": str(dtype).removeprefix("torch."),
        "budget": max_tokens,
        "products tokens/CPU s": num_tokens / statistics.median(seconds["products"]),
        "GFLOP/s": num_tokens * products.flops_per_token / statistics.median(seconds["products"]) / 1e9,
        "engine tokens/CPU s": num_tokens / statistics.median(seconds["engine"]),
        "of the products": statistics.median(fractions),
        "adapters cost": statistics.median(shares),
    }


@torch.inference_mode()
def turns(functions: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Processor seconds of each function, `repeats` times, one after the other; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(repeats + 1):
        for name, function in functions.items():
            started = time.process_time()
            function()
            if number:
                seconds[name].append(time.process_time() - started)
    return seconds


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--budgets", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows, targets = list[dict[str, Any]](), list[Target]()
    for dtype, least in LEAST.items():
        found = [measure(given.texts, given.repeats, max_tokens, dtype, usable_cpus()) for max_tokens in given.budgets]
        best = max(found, key=lambda row: row["of the products"])
        targets.append(
            Target(
                f"{best['type']}: engine, of its plain matrix products, at its best budget",
                best["of the products"],
                "at least",
                least,
            )
        )
        targets.append(
            Target(f"{best['type']}: adapters, of the time without them, there", best["adapters cost"], "at most", 0.03)
        )
        rows += found
    settings = {"threads": usable_cpus(), "adapters": NUM_ADAPTERS, "texts": given.texts}
    report("roofline", settings | {"repeats": given.repeats}, rows, targets)


if __name__ == "__main__":
    main()
