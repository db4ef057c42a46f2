"""Tokens per second of the engine on a GPU: a loop over segments, the fused kernel, and with CUDA graphs.

Random tokens in texts of 4 to 128 tokens, about 30 on average, dealt out over 1, 64 and 1,024 adapters (r = 48 in
every layer), in batches of 1, 8, 64 and 512 texts within the token budget. Also the graphs without adapters, to
measure their cost, and the backbone's matrix products alone in a graph, the upper bound of every engine. Measures whole
forwards, from encodings to logits on the host; the kinds take turns, medians are shown.

    python -m benchmarks.engine.cuda [--backbone bert-base-uncased] [--dtype bfloat16] [--rounds 20]

Writes benchmarks/results/cuda.json.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
import torch

from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.backbone.text_encoder import Encoding
from adapters.config import DEFAULT_BACKBONE
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from benchmarks.adapters import random_adapter
from benchmarks.report import RESULTS
from service.engine.engine import Engine
from service.settings import Settings

NUM_TEXTS, NUM_ADAPTERS = (1, 8, 64, 512), (1, 64, 1024)

Capture = Callable[[Callable[[], object]], Callable[[], None]]


def random_texts(number: int, vocabulary: int, longest: int, seed: int = 0) -> list[Encoding]:
    """Log-normal lengths with a mean of about 30 tokens, like sentences."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(generator.lognormal(3.2, 0.6, number), 4, min(128, longest)).astype(int)
    return [
        Encoding(generator.integers(1, vocabulary, length), np.zeros(length, dtype=np.int64), False)
        for length in lengths.tolist()
    ]


def batches_of(encodings: Sequence[Encoding], num_adapters: int, max_tokens: int) -> list[BatchTokens]:
    """Text i for adapter i mod num_adapters; batches within the token budget."""
    members: list[dict[int, list[Encoding]]] = [{}]
    tokens = 0
    for index, encoding in enumerate(encodings):
        if tokens + len(encoding) > max_tokens and members[-1]:
            members.append({})
            tokens = 0
        members[-1].setdefault(index % num_adapters, []).append(encoding)
        tokens += len(encoding)
    return [BatchTokens.of(list(one.items())) for one in members]


def matrix_products(loaded: LoadedBackbone, num_tokens: int, capture: Capture) -> Callable[[], None]:
    """The backbone's matrix products of that many tokens and nothing else, in its type, captured and waited for."""
    backbone = loaded.backbone
    layer = backbone.layers[0]
    weights = [getattr(layer, name).weight for name in ("qkv", "attention_out", "ff_in", "ff_out")]
    inputs = [weight.new_ones(num_tokens, weight.shape[1]) for weight in weights]

    @torch.inference_mode()
    def multiply() -> None:
        for _ in backbone.layers:
            for weight, rows in zip(weights, inputs, strict=True):
                torch.mm(rows, weight.T)

    replay = capture(multiply)

    def run() -> None:
        replay()
        if backbone.device.type == "cuda":
            torch.cuda.synchronize(backbone.device)

    return run


def engines(loaded: LoadedBackbone, bank: AdapterBank, max_tokens: int, capture: Capture) -> dict[str, Engine]:
    """The kinds that are compared."""
    from adapters.cuda import forward as cuda_forward

    fused = cuda_forward.CudaForward(loaded.backbone, bank, max_batch_tokens=max_tokens)
    graphs = cuda_forward.CudaForward(loaded.backbone, bank, max_batch_tokens=max_tokens, capture=capture)
    graphs.warm_up()
    bare = cuda_forward.CudaForward(loaded.backbone, bank, max_batch_tokens=max_tokens, capture=capture)
    add_adapters = cuda_forward.add_adapters
    cuda_forward.add_adapters = lambda h, *rest: h  # the graphs captured now keep the bare backbone
    bare.warm_up()
    cuda_forward.add_adapters = add_adapters
    return {
        "loop": Engine(loaded.backbone, bank),
        "fused": Engine(loaded.backbone, bank, cuda=fused),
        "graphs": Engine(loaded.backbone, bank, cuda=graphs),
        "graphs, no adapter": Engine(loaded.backbone, bank, cuda=bare),
    }


def median_seconds(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median of `rounds` for each, taking turns; the first turn warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure(
    loaded: LoadedBackbone,
    capture: Capture,
    *,
    num_texts: Sequence[int] = NUM_TEXTS,
    num_adapters: Sequence[int] = NUM_ADAPTERS,
    rounds: int = 20,
    max_tokens: int | None = None,
) -> list[dict[str, object]]:
    """One row per number of adapters and of texts."""
    budget = max_tokens or Settings().max_batch_tokens
    bank = AdapterBank(loaded.identity.hidden_size, loaded.backbone.device, loaded.backbone.dtype)
    kinds = engines(loaded, bank, budget, capture)
    vocabulary, longest = loaded.backbone.word.num_embeddings, loaded.backbone.max_positions
    rows: list[dict[str, object]] = []
    num_written = 0
    for adapters in num_adapters:
        for slot in range(num_written, adapters):
            bank.write(slot, random_adapter(loaded.identity, seed=slot))
        num_written = max(num_written, adapters)
        for texts in num_texts:
            encodings = random_texts(texts, vocabulary, longest)
            batches = batches_of(encodings, adapters, budget)
            tokens = sum(len(encoding) for encoding in encodings)
            runs: dict[str, Callable[[], None]] = {
                name: lambda engine=engine, batches=batches: [engine.forward(batch) for batch in batches]  # type: ignore[misc]
                for name, engine in kinds.items()
            }
            runs["matrix products"] = matrix_products(loaded, tokens, capture)
            seconds = median_seconds(runs, rounds)
            rows.append(
                {
                    "adapters": adapters,
                    "texts": texts,
                    "tokens": tokens,
                    "milliseconds": {name: round(value * 1e3, 3) for name, value in seconds.items()},
                    "tokens_per_s": {name: round(tokens / value) for name, value in seconds.items()},
                    "adapters_share": round(1 - seconds["graphs, no adapter"] / seconds["graphs"], 4),
                    "of_matrix_products": round(seconds["matrix products"] / seconds["graphs"], 4),
                }
            )
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--dtype", choices=["bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device here: this benchmark measures the GPU path and nothing else")
    from adapters.cuda.graphs import CudaGraphs

    loaded = load_backbone(given.backbone, device="cuda", dtype=getattr(torch, given.dtype))
    rows = measure(loaded, CudaGraphs(loaded.backbone.device).capture, rounds=given.rounds)
    for row in rows:
        rates = "  ".join(f"{name} {rate:>11,}" for name, rate in row["tokens_per_s"].items())  # type: ignore[attr-defined]
        print(f"{row['adapters']:>5} adapters {row['texts']:>4} texts   tokens/s: {rates}")
    result = {
        "device": torch.cuda.get_device_name(),
        "software": f"torch {torch.__version__}, CUDA {torch.version.cuda}",
        "date": date.today().isoformat(),
        "backbone": given.backbone,
        "dtype": given.dtype,
        "rows": rows,
    }
    (RESULTS / "cuda.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
