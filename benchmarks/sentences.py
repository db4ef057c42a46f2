"""The inputs that the benchmarks run on: GLUE sentences and pairs, mixed, in a fixed random order."""

import json
import os
import random
import sys
from pathlib import Path

SPLITS = ("sst2/validation", "cola/validation", "rte/validation", "mrpc/test", "stsb/validation")


def glue_inputs(number: int, seed: int = 0) -> list[str | tuple[str, str]]:
    """`number` inputs from the five tasks, each task as often as its split is long; exits where there is no data."""
    folder = Path(os.environ.get("ADAKRON_GLUE_DIR", Path(__file__).parents[2] / "shared/data/glue"))
    if not folder.is_dir():
        sys.exit(f"no GLUE data in {folder}: set ADAKRON_GLUE_DIR to a folder of TASK/SPLIT.jsonl")
    inputs: list[str | tuple[str, str]] = []
    for split in SPLITS:
        for line in (folder / f"{split}.jsonl").read_text().splitlines():
            row = json.loads(line)
            inputs.append(row["sentence"] if "sentence" in row else (row["sentence1"], row["sentence2"]))
    random.Random(seed).shuffle(inputs)
    return inputs[:number]
