"""Coverage-guided fuzzing of `checkpoint.parse`: `python -m tests.long.fuzz_checkpoint CORPUS -max_total_time=60`.

The options are libFuzzer's; CORPUS is a folder that takes new inputs. A file that raises anything but
CheckpointError, or that is accepted against the oracle, ends the run and is saved.
"""

import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris
import torch

with atheris.instrument_imports(include=["adapters"]):
    from adapters import checkpoint
    from adapters.errors import CheckpointError

# imported after the modules above, which must be instrumented at their first import
from tests.long.bases import IDENTITY, base_files
from tests.long.mutator import Mutator
from tests.long.oracle import check_accepted


def main() -> None:
    """Fuzz until a limit in libFuzzer's options."""
    torch.set_num_threads(1)
    mutator, bases = Mutator(base_files()), base_files()
    with TemporaryDirectory() as folder:
        scratch = Path(folder) / "file"

        def check(data: bytes) -> None:
            try:
                adapter = checkpoint.parse(data, IDENTITY)
            except CheckpointError:
                return
            check_accepted(data, adapter, scratch)

        def mutate(data: bytes, max_bytes: int, seed: int) -> bytes:
            rng = random.Random(seed)
            if rng.randrange(4) == 0:
                return bytes(atheris.Mutate(data, max_bytes))
            start = data if rng.randrange(8) else rng.choice(bases)
            return mutator.mutate(rng, start)[:max_bytes]

        atheris.Setup(sys.argv, check, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
