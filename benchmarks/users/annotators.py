"""Made annotators: each decides by a threshold and a bias of their own when two sentences of STS-B are similar enough.

No person labelled anything. STS-B has a mean score from 0 to 5 for each pair. Annotator u adds a bias, b_u times the
standardised share of words that the two sentences have in common, and says yes if the sum is above the threshold t_u:

    yes  if  score + b_u * (overlap - mean) / deviation > t_u        t_u uniform in 1.5 to 4, b_u normal, deviation 0.7
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from benchmarks.sentences import split_rows

LEAST, MOST, BIAS = 1.5, 4.0, 0.7
YES, NO = "similar", "different"


@dataclass(frozen=True)
class Pair:
    """Two sentences, their score, and how many words they share, standardised over all pairs."""

    texts: tuple[str, str]
    score: float
    overlap: float


@dataclass(frozen=True)
class Annotator:
    """A made annotator."""

    name: str
    threshold: float
    bias: float

    def label(self, pair: Pair) -> str:
        """The label that this annotator gives."""
        return YES if pair.score + self.bias * pair.overlap > self.threshold else NO


@dataclass(frozen=True)
class Row:
    """A pair with an annotator's label."""

    user: str
    texts: tuple[str, str]
    label: str


def make_annotators(count: int) -> list[Annotator]:
    """Draw `count` annotators; the first n are the same for every count."""
    drawn = random.Random(17)
    return [Annotator(f"user {number}", drawn.uniform(LEAST, MOST), drawn.gauss(0, BIAS)) for number in range(count)]


def load_pairs() -> tuple[list[Pair], list[Pair]]:
    """The pairs of STS-B to train on, and those to test on. Exits if the GLUE files are missing."""
    splits = [split_rows(f"stsb/{split}") for split in ("train", "validation")]
    shares = [share_of_words(row["sentence1"], row["sentence2"]) for row in splits[0]]
    mean, deviation = fmean(shares), pstdev(shares)

    def pairs(rows: Sequence[dict[str, str]]) -> list[Pair]:
        return [
            Pair(
                (row["sentence1"], row["sentence2"]),
                float(row["label"]),
                (share_of_words(row["sentence1"], row["sentence2"]) - mean) / deviation,
            )
            for row in rows
        ]

    return pairs(splits[0]), pairs(splits[1])


def share_of_words(first: str, second: str) -> float:
    """Jaccard's index of the words of two texts."""
    one, other = set(first.lower().split()), set(second.lower().split())
    return len(one & other) / max(1, len(one | other))


def draw_rows(annotator: Annotator, pairs: Sequence[Pair], count: int, purpose: str) -> list[Row]:
    """Draw `count` pairs for an annotator and label them; fewer rows are the beginning of more."""
    drawn = random.Random(f"{annotator.name} {purpose}")
    chosen = drawn.sample(range(len(pairs)), len(pairs))[:count]
    return [Row(annotator.name, pairs[index].texts, annotator.label(pairs[index])) for index in chosen]
