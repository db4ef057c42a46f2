"""What each loaded adapter costs in memory, over its own bytes in the type that it is served in.

Writes 512 adapters into a bank, one after the other, and watches the process's private memory. float16 files count by
what they are served as (float32 on a CPU); the ratio to the file is shown too.

    python -m benchmarks.memory

Writes benchmarks/results/memory.json.
"""

import gc
import json
from datetime import date
from pathlib import Path

import psutil
import torch

from adapters.bank import AdapterBank
from adapters.source import load_backbone
from benchmarks.adapters import random_adapter

RESULTS = Path(__file__).parent / "results" / "memory.json"
WARM, MEASURED = 64, 512


def private_bytes() -> int:
    """Memory that only this process holds."""
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)


def main() -> None:
    """Measure, print, write."""
    identity = load_backbone().identity
    result: dict[str, object] = {"date": date.today().isoformat(), "adapters": MEASURED}
    banks = []  # all kept: memory that one gives back would serve the next
    for dtype in (torch.float32, torch.float16):
        bank = AdapterBank(identity.hidden_size, "cpu", torch.float32)
        banks.append(bank)
        adapter = random_adapter(identity, dtype=dtype)
        own = bank.num_bytes(adapter.metadata.num_parameters, adapter.metadata.task.num_outputs)
        for slot in range(WARM):
            bank.write(slot, random_adapter(identity, seed=slot, dtype=dtype))
        before = private_bytes()
        for slot in range(WARM, WARM + MEASURED):
            bank.write(slot, random_adapter(identity, seed=slot, dtype=dtype))
        each = (private_bytes() - before) / MEASURED
        name = str(dtype).removeprefix("torch.")
        result[name] = {
            "own_bytes": own,
            "file_bytes": adapter.num_bytes,
            "measured_bytes": round(each),
            "over_own": round(each / own, 3),
            "over_file": round(each / adapter.num_bytes, 3),
        }
        print(
            f"{name} file: {each:,.0f} bytes each in memory = {each / own:.3f} x its own bytes as served "
            f"(target 1.1), {each / adapter.num_bytes:.3f} x those of the file"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
