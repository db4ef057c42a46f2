"""How many threads training computes with."""

import os

import torch

from service.processes.cgroups import usable_cpus


def respect_quota() -> None:
    """No more threads than the container's CPU quota can run at once: torch counts cores only.

    OMP_NUM_THREADS, where the user has set it, stays.
    """
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(torch.get_num_threads(), usable_cpus()))
