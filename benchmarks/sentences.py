"""The inputs that the benchmarks run on: GLUE, five tasks in equal shares, in a fixed random order."""

import json
import os
import random
import sys
from pathlib import Path

SPLITS = ("sst2/validation", "cola/validation", "rte/validation", "mrpc/test", "stsb/validation")


def glue_inputs(number: int, seed: int = 0) -> list[str | tuple[str, str]]:
    """`number` inputs, as many from each of the five tasks, shuffled; exits where there is no data."""
    folder = Path(os.environ.get("ADAKRON_GLUE_DIR", Path(__file__).parents[2] / "shared/data/glue"))
    if not folder.is_dir():
        sys.exit(f"no GLUE data in {folder}: set ADAKRON_GLUE_DIR to a folder of TASK/SPLIT.jsonl")
    generator = random.Random(seed)
    inputs: list[str | tuple[str, str]] = []
    for split in SPLITS:
        rows = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
        drawn = generator.choices(rows, k=number // len(SPLITS))
        inputs += [row["sentence"] if "sentence" in row else (row["sentence1"], row["sentence2"]) for row in drawn]
    generator.shuffle(inputs)
    return inputs
