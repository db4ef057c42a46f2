"""CUDA graphs: the batch sizes for which they are captured, and the capture. Hundreds of launches become one."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

Replay = Callable[[], None]
_NUM_WARM_UPS = 2  # they compile kernels and allocate workspaces, which a capture must not do
_SMALLEST = 16
_SHORT = 128  # tokens; most texts are not longer, and attention over them needs a smaller grid


@dataclass(frozen=True, order=True)
class Bucket:
    """The sizes of one graph: smaller batches run in it, padded to `num_tokens` tokens."""

    num_tokens: int
    max_length: int  # of a sequence
    num_sequences: int  # without the sequences of the padding


class Buckets:
    """Powers of two of tokens and the numbers half-way between them, each for short sequences and for all."""

    def __init__(self, max_tokens: int, max_positions: int) -> None:
        sizes, power = set(), _SMALLEST
        while power < max_tokens:
            sizes |= {power, power + power // 2} if power >= 2 * _SMALLEST else {power}
            power *= 2
        lengths = {min(_SHORT, max_positions), max_positions}
        self.all = tuple(
            Bucket(size, length, max(4, size // 8))
            for size in sorted({size for size in sizes if size < max_tokens} | {max_tokens})
            for length in sorted(lengths)
            if length == min(lengths) or size > min(lengths)
        )

    def choose(self, num_tokens: int, num_sequences: int, longest: int) -> Bucket | None:
        """Return the smallest bucket for a batch of these sizes; None if it fits no bucket."""
        for bucket in self.all:
            if (
                num_tokens <= bucket.num_tokens
                and num_sequences <= bucket.num_sequences
                and longest <= bucket.max_length
            ):
                return bucket
        return None


class CudaGraphs:
    """Captures functions. All graphs share one pool of memory, so only one of them may run at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def capture(self, function: Callable[[], object]) -> Replay:
        """Run `function` a few times and capture it. Its replay reads and writes the same tensors."""
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(self._device)
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(_NUM_WARM_UPS):
                function()
        current.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # other threads load adapters meanwhile: their allocations must not break the capture
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            function()
        return graph.replay
