"""Measures the contenders for the dense layers."""

import ctypes
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import torch
from torch import Tensor

from benchmarks.linear_algebra.compiled import ByFrozenInductor, ByInductor
from benchmarks.linear_algebra.layers import ByTorch, Contender, Layer, PlainProducts, random_layers
from benchmarks.linear_algebra.packed import ByMkl, ByOneDnn, ByShards
from benchmarks.linear_algebra.timing import alone, by_turns, elapsed, median_ms

PLAIN = "plain products (torch.mm)"
_NUM_PASSES = 2  # others may measure in between
_NEW_ROWS = (77, 301, 603)  # numbers of rows that nobody has seen
_INVARIANCE_ROWS = (1, 2, 3, 7, 33, 100, 257, 512)


def _makers(
    layers: list[Layer], numbers_of_rows: Sequence[int], num_threads: int
) -> dict[str, Callable[[], Contender]]:
    def graph(engine: str, *, whole: bool) -> Contender:
        from benchmarks.linear_algebra import graphs

        return graphs.ByGraph(layers, getattr(graphs, engine)(num_threads), whole=whole)

    def streams() -> Contender:
        from benchmarks.linear_algebra.graphs import ByOpenVinoStreams

        return ByOpenVinoStreams(layers, num_threads)

    makers: dict[str, Callable[[], Contender]] = {
        PLAIN: lambda: PlainProducts(layers, max(*numbers_of_rows, *_NEW_ROWS, *_INVARIANCE_ROWS)),
        "torch": lambda: ByTorch(layers),
        "oneDNN packed": lambda: ByOneDnn(layers),
        "oneDNN packed, bfloat16": lambda: ByOneDnn(layers, torch.bfloat16),
        "MKL packed for each T": lambda: ByMkl(layers, numbers_of_rows),
        "torch.compile": lambda: ByInductor(layers),
        "torch.compile, freezing": lambda: ByFrozenInductor(layers),
        "ONNX Runtime, two calls a layer": lambda: graph("onnx_runtime", whole=False),
        "ONNX Runtime, one call": lambda: graph("onnx_runtime", whole=True),
        "OpenVINO, two calls a layer": lambda: graph("openvino", whole=False),
        "OpenVINO, one call": lambda: graph("openvino", whole=True),
    }
    if num_threads > 1:
        makers["oneDNN packed, a shard a thread"] = lambda: ByShards(ByOneDnn(layers), num_threads)
        makers["OpenVINO, one call, throughput"] = streams
    return makers


@torch.no_grad()
def measure_dense(
    hidden: int,
    num_layers: int,
    numbers_of_rows: Sequence[int],
    num_threads: int,
    budget_s: float,
    lock: Path | None,
    without: Sequence[str],
) -> dict[str, object]:
    """Of each contender: milliseconds and plain products' share by T, first calls, error, invariance, costs."""
    torch.manual_seed(0)
    torch.set_num_threads(num_threads)
    layers = random_layers(num_layers, hidden)
    max_rows = max(*numbers_of_rows, *_NEW_ROWS, *_INVARIANCE_ROWS)
    x, attended = torch.randn(max_rows, hidden), torch.randn(max_rows, hidden)
    truth = ByTorch([layer.to(torch.float64) for layer in layers])(x[:1024].double(), attended[:1024].double())
    contenders: dict[str, Contender] = {}
    found: dict[str, dict[str, object]] = {}
    for name, make in _makers(layers, numbers_of_rows, num_threads).items():
        if any(word in name for word in without):
            continue
        before_bytes, started = _private_bytes(), time.perf_counter()
        try:
            contenders[name] = make()
        except ImportError as error:
            print(f"{name}: not installed ({error.name})", flush=True)
            continue
        for num_rows in numbers_of_rows:
            contenders[name](x[:num_rows], attended[:num_rows])
        found[name] = {
            "start_s": round(time.perf_counter() - started, 2),
            "memory_mib": round((_private_bytes() - before_bytes) / 2**20, 1),
        }
        if name != PLAIN:
            found[name] |= _exactness(contenders[name], x, attended, truth)

    def calling(contender: Contender) -> Callable[[int], Tensor]:
        return lambda num_rows: contender(x[:num_rows], attended[:num_rows])

    functions = {name: calling(contender) for name, contender in contenders.items()}
    often = [num_rows for num_rows in numbers_of_rows for _ in range(max(1, min(4, 512 // num_rows)))]
    seconds: dict[tuple[str, int], list[float]] = {}
    for turn in range(_NUM_PASSES):
        with alone(lock):
            started = time.perf_counter()
            if turn == 0:
                for name, function in functions.items():
                    found[name]["first_call_ms"] = _first_call_ms(function)
            for key, times in by_turns(functions, often, budget_s - (time.perf_counter() - started)).items():
                seconds.setdefault(key, []).extend(times)
    for name, result in found.items():
        result["ms"] = {num_rows: median_ms(seconds[name, num_rows]) for num_rows in numbers_of_rows}
        result["best_ms"] = {num_rows: median_ms([min(seconds[name, num_rows])]) for num_rows in numbers_of_rows}
        result["fraction"] = {
            num_rows: round(median_ms(seconds[PLAIN, num_rows]) / median_ms(seconds[name, num_rows]), 3)
            for num_rows in numbers_of_rows
        }
    rounds = min(len(times) for times in seconds.values())
    return {"hidden": hidden, "layers": num_layers, "threads": num_threads, "rounds": rounds, "contenders": found}


def _private_bytes() -> int:
    """Memory that only this process holds, without what the allocator keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_full_info().uss)


def _first_call_ms(function: Callable[[int], object]) -> float:
    """What the first call with a number of rows costs beyond the ones after it; the median of some numbers."""
    more_s = []
    for num_rows in _NEW_ROWS:
        first_s = elapsed(function, num_rows)
        more_s.append(first_s - min(elapsed(function, num_rows) for _ in range(2)))
    return median_ms(more_s)


def _exactness(contender: Contender, x: Tensor, attended: Tensor, truth: Tensor) -> dict[str, object]:
    """Largest error against float64, as a share of the largest value; at which T rows differ from those at 1,024."""
    whole = contender(x[:1024], attended[:1024]).clone()
    differing = [
        num_rows
        for num_rows in _INVARIANCE_ROWS
        if not torch.equal(contender(x[:num_rows], attended[:num_rows]), whole[:num_rows])
    ]
    error = (whole - truth).abs().max() / truth.abs().max()
    return {"max_error": float(f"{error:.1e}"), "rows_differ_at": differing}
