"""Tokens per second of the packed engine with 64 adapters against HF's `BertModel` with none.

The same sentences in the same order on the same threads: HF in padded batches of 32, the engine in batches of
ADAKRON_MAX_BATCH_TOKENS with the sentences dealt out over 64 adapters. Also the engine without adapters, for what
they cost. The rounds alternate, so that the machine's moods hit each alike; medians are shown.

    ADAKRON_GLUE_DIR=... python -m benchmarks.engine [--threads 2] [--rounds 7]

Writes benchmarks/results/engine.json.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, BertModel

from adapters.backbone.source import LoadedBackbone, load_backbone, locate
from adapters.config import DEFAULT_BACKBONE
from adapters.serving.bank import AdapterBank
from benchmarks.adapters import random_adapter
from benchmarks.engine_alone import filled, make_batch
from benchmarks.sentences import glue_inputs
from service.engine.engine import Engine
from service.settings import Settings

RESULTS = Path(__file__).parent / "results" / "engine.json"
PADDED_BATCH = 32


def hf_padded(inputs: list) -> tuple[Callable[[], None], int]:
    """HF's BertModel on padded batches of 32 in the order given; tokenised beforehand."""
    tokenizer = AutoTokenizer.from_pretrained(locate(DEFAULT_BACKBONE))
    bert = BertModel.from_pretrained(locate(DEFAULT_BACKBONE)).eval()
    batches = []
    for start in range(0, len(inputs), PADDED_BATCH):
        chosen = inputs[start : start + PADDED_BATCH]
        texts = [(item,) if isinstance(item, str) else item for item in chosen]
        encoded = [tokenizer(*item, truncation=True, max_length=128) for item in texts]
        batches.append(tokenizer.pad(encoded, return_tensors="pt"))
    padded = sum(int(batch["input_ids"].numel()) for batch in batches)

    @torch.inference_mode()
    def run() -> None:
        for batch in batches:
            bert(**batch)

    return run, padded


def packed(loaded: LoadedBackbone, inputs: list, num_adapters: int) -> tuple[Callable[[], None], int]:
    """The engine on the same inputs, input i for adapter i mod num_adapters; without adapters where that is 0."""
    bank = AdapterBank(loaded.identity.hidden_size, "cpu", torch.float32)
    for slot in range(max(num_adapters, 1)):
        bank.write(slot, random_adapter(loaded.identity, seed=slot))
    if num_adapters == 0:
        bank.site = lambda segments: None  # type: ignore[method-assign]  # the bare backbone
    engine = Engine(loaded.backbone, bank, torch.get_num_threads())
    encodings = loaded.encoder.encode(inputs, max_length=128)
    numbered = [(index % max(num_adapters, 1), encoding) for index, encoding in enumerate(encodings)]
    batches = [make_batch(some) for some in filled(numbered, Settings().max_batch_tokens)]

    def run() -> None:
        for batch in batches:
            engine.forward(batch)

    return run, sum(len(encoding) for encoding in encodings)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--inputs", type=int, default=1024)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    inputs = glue_inputs(given.inputs)
    loaded = load_backbone()
    loaded.backbone.pack()
    hf, padded_tokens = hf_padded(inputs)
    mixed, tokens = packed(loaded, inputs, 64)
    bare, _ = packed(loaded, inputs, 0)
    runs = {"HF padded, no adapter": hf, "engine, 64 adapters": mixed, "engine, no adapter": bare}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(given.rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if round_number:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    rates = {name: tokens / statistics.median(values) for name, values in seconds.items()}
    hf_s, mixed_s, bare_s = (np.array(seconds[name]) for name in runs)
    result = {
        "machine": f"{platform.machine()}, {given.threads} threads, torch {torch.__version__}",
        "date": date.today().isoformat(),
        "inputs": len(inputs),
        "tokens": tokens,
        "padded_tokens": padded_tokens,
        "tokens_per_s": {name: round(rate) for name, rate in rates.items()},
        "engine_over_hf": round(float(np.median(hf_s / mixed_s)), 2),
        "adapters_share_of_backbone": round(float(np.median(mixed_s / bare_s)) - 1, 4),
    }
    for name, rate in rates.items():
        print(f"{name:24} {rate:10,.0f} tokens/s")
    print(f"engine with 64 adapters / HF padded: {result['engine_over_hf']:.2f}   (target 2.5)")
    print(f"adapters cost {100 * result['adapters_share_of_backbone']:.1f} % of the backbone's time   (target 5 %)")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
