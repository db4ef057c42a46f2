"""Measure the lengths of a split's inputs: how many are cut, and the cost of a longer --max-length."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapters.backbone.text_encoder import Encoding, TextEncoder
from adapters.config import TaskSpec, TrainedTruncation
from service.train.data.split import Split

MAX_COUNTED = 8192  # tokens of one input
MAX_SAMPLED = 500  # over-long inputs whose tokens are counted; more would take too long
CUT: dict[TrainedTruncation, str] = {
    "right": "the end is cut off (--truncation left or head-tail cuts elsewhere)",
    "left": "the beginning is cut off",
    "head-tail": "the middle is cut out",
}
FEW_CUT = 0.05  # share of the inputs that the proposed setting may cut


@dataclass(frozen=True, eq=False)
class Lengths:
    """The number of tokens of each input of a split, special tokens included, up to MAX_COUNTED."""

    name: str
    tokens: np.ndarray  # [N] int64; cut inputs beyond MAX_SAMPLED have lengths drawn from the sample
    max_length: int
    truncation: TrainedTruncation = "right"

    @property
    def num_cut(self) -> int:
        """The number of inputs with more than `max_length` tokens."""
        return int((self.tokens > self.max_length).sum())

    def work(self, max_length: int, hidden_size: int) -> float:
        """The cost of a pass over the split with that maximum length, as `work` counts it."""
        return work(np.minimum(self.tokens, max_length), hidden_size)


def work(lengths: Sequence[int] | np.ndarray, hidden_size: int) -> float:
    """The cost of sequences of these lengths l: the sum of l (6 H + l), for matrix products and attention."""
    tokens = np.asarray(lengths, dtype=np.float64)
    return float((tokens * (6 * hidden_size + tokens)).sum())


def measure_lengths(split: Split, encodings: Sequence[Encoding], encoder: TextEncoder, task: TaskSpec) -> Lengths:
    """Count the tokens of a split that was encoded for `task`; only a sample of the cut inputs is encoded again."""
    tokens = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
    cut = [row for row, encoding in enumerate(encodings) if encoding.truncated]
    if not cut:
        return Lengths(split.name, tokens, task.max_length, task.truncation)
    drawn = random.Random(0)
    sample = cut if len(cut) <= MAX_SAMPLED else drawn.sample(cut, MAX_SAMPLED)
    inputs = [split.inputs[row] for row in sample]
    whole = encoder.encode(inputs, max_length=MAX_COUNTED, special_tokens=task.special_tokens)
    counted = [len(item) for item in whole]
    tokens[cut] = drawn.choices(counted, k=len(cut))
    tokens[sample] = counted
    return Lengths(split.name, tokens, task.max_length, task.truncation)


def describe_lengths(lengths: Lengths, hidden_size: int, max_positions: int) -> list[str]:
    """Warn if inputs are cut: how many, by how much, and the share and cost of a longer setting."""
    count, total, now = lengths.num_cut, len(lengths.tokens), lengths.max_length
    if not count:
        return []
    cut = lengths.tokens[lengths.tokens > now]
    longest = f"{MAX_COUNTED:,} or more" if cut.max() >= MAX_COUNTED else f"{cut.max():,}"
    about = "about " if count > MAX_SAMPLED else ""
    told = (
        f"{lengths.name}: {count:,} of {total:,} inputs ({count / total:.1%}) have more tokens than --max-length {now} "
        f"keeps, {about}{int(np.median(cut)):,} in the median, {about}{longest} at most; {CUT[lengths.truncation]}"
    )
    longer = _propose(lengths, min(max_positions, MAX_COUNTED))
    if longer is None:
        return [f"{told}, and the backbone takes no more; split long texts"]
    share = (lengths.tokens > longer).mean()
    times = lengths.work(longer, hidden_size) / lengths.work(now, hidden_size)
    return [f"{told}; --max-length {longer} would cut {share:.1%} and take about {times:.1f} times as long"]


def _propose(lengths: Lengths, most: int) -> int | None:
    """The smallest doubling of the setting that cuts few inputs, within the backbone's maximum; None at the maximum."""
    longer = 2 * lengths.max_length
    while longer < most and (lengths.tokens > longer).mean() > FEW_CUT:
        longer *= 2
    return None if lengths.max_length >= most else min(longer, most)
