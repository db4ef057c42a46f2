"""How long the inputs of a split are, how many are cut, and what a longer --max-length would cost."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapters.backbone.text_encoder import Encoding, TextEncoder
from adapters.config import TaskSpec, TrainedTruncation
from service.train.data.split import Split

MAX_COUNTED = 8192  # tokens of one input
MAX_SAMPLED = 500  # over-long inputs whose tokens are counted: all of them would take longer than they are worth
CUT: dict[TrainedTruncation, str] = {
    "right": "the end is cut off (--truncation left or head-tail cuts elsewhere)",
    "left": "the beginning is cut off",
    "head-tail": "the middle is cut out",
}
FEW_CUT = 0.05  # share of the inputs that a proposed setting may cut


@dataclass(frozen=True, eq=False)
class Lengths:
    """Tokens of each input of a split, special tokens included, up to MAX_COUNTED."""

    name: str
    tokens: np.ndarray  # [N] int64; of inputs that are cut, beyond a sample, drawn from that sample
    max_length: int
    truncation: TrainedTruncation = "right"

    @property
    def num_cut(self) -> int:
        """Inputs with more than `max_length` tokens."""
        return int((self.tokens > self.max_length).sum())

    def work(self, max_length: int, hidden_size: int) -> float:
        """What a pass over the split costs at that setting, in units that depend on the backbone alone."""
        return work(np.minimum(self.tokens, max_length), hidden_size)


def work(lengths: Sequence[int] | np.ndarray, hidden_size: int) -> float:
    """Cost of sequences of these lengths: matrices grow with a length, attention with its square."""
    tokens = np.asarray(lengths, dtype=np.float64)
    return float((tokens * (6 * hidden_size + tokens)).sum())


def measure_lengths(split: Split, encodings: Sequence[Encoding], encoder: TextEncoder, task: TaskSpec) -> Lengths:
    """Count the tokens of a split that was encoded for `task`; only inputs that were cut are read again."""
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
    """A warning where inputs are cut: how many, by how much, and what a longer setting would keep and cost."""
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
    """The smallest doubled setting that cuts few inputs, else the most that the backbone takes."""
    longer = 2 * lengths.max_length
    while longer < most and (lengths.tokens > longer).mean() > FEW_CUT:
        longer *= 2
    return None if lengths.max_length >= most else min(longer, most)
