"""The inputs that the benchmarks run on: GLUE, as many from each task, in a fixed random order."""

import json
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path

SPLITS = ("sst2/validation", "cola/validation", "rte/validation", "mrpc/test", "stsb/validation")
TEXT_SPLITS = ("sst2/validation", "rte/validation", "mrpc/test")  # those whose texts are sentences of common length


def glue_inputs(number: int, seed: int = 0) -> list[str | tuple[str, str]]:
    """Draw `number` texts and pairs, as many from each of the five tasks, shuffled; exits if there is no data."""
    generator = random.Random(seed)
    inputs: list[str | tuple[str, str]] = []
    for split in SPLITS:
        drawn = generator.choices(split_rows(split), k=number // len(SPLITS))
        inputs += [row["sentence"] if "sentence" in row else (row["sentence1"], row["sentence2"]) for row in drawn]
    generator.shuffle(inputs)
    return inputs


def single_texts(number: int, seed: int = 0) -> list[str]:
    """`number` single texts of SST-2, RTE and MRPC (of a pair either text), shuffled: 28 tokens each in the mean."""
    generator = random.Random(seed)
    texts: list[str] = []
    for place, split in enumerate(TEXT_SPLITS):
        found = [
            row[name] for row in split_rows(split) for name in ("sentence", "sentence1", "sentence2") if name in row
        ]
        texts += generator.choices(found, k=(number + place) // len(TEXT_SPLITS))
    generator.shuffle(texts)
    return texts


def texts_of(row: Mapping[str, str]) -> list[str]:
    """The one or two texts of a row."""
    return [row[name] for name in ("sentence", "sentence1", "sentence2") if name in row]


def split_rows(split: str) -> list[dict[str, str]]:
    """Read all rows of `TASK/SPLIT`; exits if there is no data."""
    folder = Path(os.environ.get("ADAKRON_GLUE_DIR", Path(__file__).parents[2] / "shared/data/glue"))
    if not folder.is_dir():
        sys.exit(f"no GLUE data in {folder}: set ADAKRON_GLUE_DIR to a folder of TASK/SPLIT.jsonl")
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
