"""The kernels in C against torch, one thread, turn by turn: attention, adapters, LayerNorm, and whole forwards.

Times are the thread's own, which other processes disturb less than the clock's.

    ADAKRON_GLUE_DIR=... python -m benchmarks.engine.kernels [--repeats 21]

Writes benchmarks/results/kernels.json. Each ratio is the median of the turns' ratios.
"""

import argparse
import copy
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from adapters.backbone import native
from adapters.backbone.attention import packed_attention
from adapters.backbone.encoder import Backbone
from adapters.backbone.layers import NativeNorm, Norm
from adapters.backbone.native import native_attention
from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.backbone.text_encoder import Encoding
from adapters.serving.bank import AdapterBank, SegmentRows
from benchmarks.adapters import random_adapter
from benchmarks.engine.alone import filled
from benchmarks.report import Target, report
from benchmarks.sentences import single_texts

NUM_ADAPTERS = 64


@contextmanager
def without_kernels() -> Iterator[None]:
    """Compute as on a machine without a C compiler."""
    library = native.library
    native.library = lambda: None  # type: ignore[assignment]
    yield
    native.library = library


@torch.inference_mode()
def turns(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each function, `repeats` times, one after the other; two first rounds are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(repeats + 2):
        for name, function in functions.items():
            started = time.thread_time()
            function()
            if number >= 2:
                seconds[name].append(time.thread_time() - started)
    return seconds


class Shard:
    """Texts as one thread of the engine has them, each for another adapter."""

    def __init__(self, encodings: list[Encoding], first_slot: int) -> None:
        self.packing = Packing.of([len(one) for one in encodings])
        self.num_tokens = int(self.packing.sizes.sum())
        self.token_ids, self.type_ids = (
            torch.cat([torch.from_numpy(getattr(one, name)) for one in encodings]) for name in ("token_ids", "type_ids")
        )
        ends = self.packing.sizes.cumsum().tolist()
        self.rows = [
            SegmentRows((first_slot + index) % NUM_ADAPTERS, end - len(one), end)
            for index, (one, end) in enumerate(zip(encodings, ends, strict=True))
        ]


def shards(loaded: LoadedBackbone, num_texts: int, max_tokens: int) -> list[Shard]:
    """Make shards of GLUE's single texts, of `max_tokens` or a little less."""
    encodings = loaded.encoder.encode(single_texts(num_texts), max_length=128)
    filled_up = filled([(0, encoding) for encoding in encodings], max_tokens)
    return [Shard([one for _, one in members], 7 * number) for number, members in enumerate(filled_up)]


def bank_of(loaded: LoadedBackbone) -> AdapterBank:
    """Make a bank of random adapters of the paper's size."""
    bank = AdapterBank(loaded.identity.hidden_size, "cpu", torch.float32)
    for slot in range(NUM_ADAPTERS):
        bank.write(slot, random_adapter(loaded.identity, seed=slot))
    return bank


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=21)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loaded = load_backbone()
    hidden, num_layers = loaded.identity.hidden_size, loaded.identity.num_layers
    num_heads = hidden // loaded.backbone.head_size
    in_c, bank = copy.deepcopy(loaded.backbone).pack(), bank_of(loaded)
    with without_kernels():
        in_torch, bank_in_torch = loaded.backbone.pack(), bank_of(loaded)
    large, *_ = shards(loaded, 60, 1024)
    rows = []

    def compare(what: str, plainly: Callable[[], object], natively: Callable[[], object], repeats: int) -> float:
        seconds = turns({"torch": plainly, "C": natively}, repeats)
        ratio = statistics.median(a / b for a, b in zip(seconds["torch"], seconds["C"], strict=True))
        plain_ms, native_ms = (1000 * statistics.median(taken) for taken in seconds.values())
        rows.append({"what": what, "torch ms": plain_ms, "C ms": native_ms, "torch / C": ratio})
        return ratio

    for num, size, packing, of in (
        (num_heads, loaded.backbone.head_size, large.packing, "texts"),
        (12, 64, large.packing, "texts"),
        (num_heads, loaded.backbone.head_size, Packing.of([128] * 8), "8 of 128"),
        (num_heads, loaded.backbone.head_size, Packing.of([512] * 2), "2 of 512"),
    ):
        qkv = torch.randn(len(packing.positions), 3 * num * size)
        compare(
            f"attention, {num} heads of {size}, {of}",
            lambda qkv=qkv, packing=packing, num=num: packed_attention(qkv, packing, num),  # type: ignore[misc]
            lambda qkv=qkv, packing=packing, num=num: native_attention(qkv, packing, num),  # type: ignore[misc]
            10 * given.repeats,
        )
    h, residual = torch.randn(large.num_tokens, hidden), torch.randn(large.num_tokens, hidden)
    norm = Norm(hidden).requires_grad_(False)
    norm_in_c = NativeNorm(norm)
    compare("norm and residual", lambda: norm(h, residual), lambda: norm_in_c(h, residual), 10 * given.repeats)

    def adapt(bank: AdapterBank) -> Callable[[], None]:
        def run() -> None:
            site = bank.site(large.rows)
            for layer in range(num_layers):
                site(layer, h)

        return run

    compare("adapters of all layers", adapt(bank_in_torch), adapt(bank), 10 * given.repeats)
    small = [shard for shard in shards(loaded, 160, 512) if shard.num_tokens > 448]

    def forwards(backbone: Backbone, bank: AdapterBank | None) -> Callable[[], Tensor]:
        shard_by_turn = itertools.cycle(small)

        def run() -> Tensor:
            shard = next(shard_by_turn)
            packing = Packing.of(shard.packing.sizes)
            site = None if bank is None else bank.site(shard.rows)
            return backbone(shard.token_ids, shard.type_ids, packing, site)

        return run

    functions = {
        "bare torch": forwards(in_torch, None),
        "torch": forwards(in_torch, bank_in_torch),
        "C": forwards(in_c, bank),
        "bare C": forwards(in_c, None),
    }
    of_all = turns(functions, given.repeats * len(small))

    def ratio(a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(of_all[a], of_all[b], strict=True))

    for what, a, b in (("forward of 512 tokens", "torch", "C"), ("the same, no adapters", "bare torch", "bare C")):
        milliseconds = [1000 * statistics.median(of_all[name]) for name in (a, b)]
        rows.append({"what": what, "torch ms": milliseconds[0], "C ms": milliseconds[1], "torch / C": ratio(a, b)})
    notes = [f"Adapters cost {ratio('torch', 'bare torch') - 1:.3f} of the forward in torch."]
    targets = [Target("adapters in C, of the forward without them", ratio("C", "bare C") - 1, "at most", 0.03)]
    settings = {"threads": 1, "tokens": large.num_tokens, "adapters": NUM_ADAPTERS, "repeats": given.repeats}
    report("kernels", settings, rows, targets, notes)


if __name__ == "__main__":
    main()
