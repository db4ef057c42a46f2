"""Capture a forward as a CUDA graph: hundreds of kernel launches become one."""

from collections.abc import Callable

import torch

Replay = Callable[[], None]
_NUM_WARM_UPS = 2  # kernels are compiled and workspaces allocated here: neither may happen within a capture


class CudaGraphs:
    """Captures functions; all graphs share one pool of memory, so only one of them may be under way at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def capture(self, function: Callable[[], object]) -> Replay:
        """Run `function` a few times, then capture it; the replay reads and writes the same tensors again."""
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(self._device)
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(_NUM_WARM_UPS):
                function()
        current.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # other threads load adapters meanwhile: what they allocate must not break the capture
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            function()
        return graph.replay
