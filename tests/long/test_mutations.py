"""Very many mutated files: each is refused by a CheckpointError, or means the same to every parser."""

import base64
import multiprocessing
import os
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from adapters import checkpoint
from adapters.errors import CheckpointError
from tests.long.bases import IDENTITY, base_files
from tests.long.conftest import Record
from tests.long.mutator import Mutator
from tests.long.oracle import check_accepted

BLOCK = 2_500
ACCEPTED = "accepted"


def check_block(seed: int) -> Counter[str]:
    """Outcomes of BLOCK mutated files; a file with a wrong outcome is told in base64, to be replayed."""
    torch.set_num_threads(1)
    mutator, rng, outcomes = Mutator(base_files()), random.Random(seed), Counter[str]()
    with TemporaryDirectory() as folder:
        for _ in range(BLOCK):
            data = mutator.draw(rng)
            try:
                outcomes[check_file(data, Path(folder) / "file")] += 1
            except Exception as error:
                raise AssertionError(f"{error!r} on the file {base64.b64encode(data).decode()}") from error
    return outcomes


def check_file(data: bytes, scratch: Path) -> str:
    """The reason code, or `accepted` where the oracle agrees. Raises whatever else comes out."""
    try:
        adapter = checkpoint.parse(data, IDENTITY)
    except CheckpointError as error:
        return error.reason
    check_accepted(data, adapter, scratch)
    return ACCEPTED


def test_mutated_files_are_refused_or_mean_one_thing(is_long: bool, record: Record) -> None:
    """No mutated file raises anything but CheckpointError, and what is accepted is what the slow oracle reads."""
    num_blocks = 400 if is_long else 2
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        outcomes = sum(pool.map(check_block, range(num_blocks)), Counter[str]())
    total = outcomes.total()
    past_container = sum(count for reason, count in outcomes.items() if not reason.startswith("container_"))
    assert total == num_blocks * BLOCK
    assert past_container > 0.3 * total
    assert outcomes[ACCEPTED] > 0.03 * total
    assert len(outcomes) > 40
    accepted = outcomes.pop(ACCEPTED)
    record(
        cases=total,
        accepted=accepted,
        past_the_container=past_container,
        refused_by_reason=dict(outcomes.most_common()),
    )
