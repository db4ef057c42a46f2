"""Mutated files: each is refused with a CheckpointError, or the safetensors library reads the same from it."""

import base64
import multiprocessing
import os
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from adapters import checkpoint
from adapters.errors import CheckpointError
from tests.long.bases import IDENTITY, base_files
from tests.long.conftest import Record
from tests.long.mutator import Mutator
from tests.long.oracle import check_accepted

BLOCK = 2_500
ACCEPTED = "accepted"


def check_block(seed: int) -> Counter[str]:
    """Check BLOCK mutated files and count the outcomes; an error contains its file in base64."""
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
    """Return the reason code, or `accepted` if the oracle agrees. Raises any other error."""
    try:
        adapter = checkpoint.parse(data, IDENTITY)
    except CheckpointError as error:
        return error.reason
    check_accepted(data, adapter, scratch)
    return ACCEPTED


def test_mutated_files_are_refused_or_mean_one_thing(is_long: bool, record: Record) -> None:
    """Mutated files raise only CheckpointError, and the oracle confirms the accepted files."""
    num_blocks = 400 if is_long else 2
    if is_long:
        with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
            outcomes = sum(pool.map(check_block, range(num_blocks)), Counter[str]())
    else:  # processes would take longer to start
        outcomes = sum(map(check_block, range(num_blocks)), Counter[str]())
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
