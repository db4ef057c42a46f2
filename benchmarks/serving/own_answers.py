"""The answers of a run of wrong_adapter: each compared with what the adapter of its digest computes alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from service.engine.engine import Engine

TEXTS = ("a good film", "the plot is dull and the actor is bad", "one two three four five", "?", "warm wine , cold sea")


@dataclass
class Outcome:
    """The observations of one run."""

    backbone: str
    num_adapters: int
    room: int
    num_predictions: int = 0
    num_wrong: int = 0
    largest_difference: float = 0.0  # of a logit, from what the named digest computes alone
    tolerance: float = 0.0  # of a logit, absolute and relative; 0: the bits are compared
    least_distance: float = 0.0  # between two adapters' answers to one text
    num_alike: int = 0  # pairs of adapters, for each text, whose answers are equal within the tolerance
    num_swaps: int = 0
    num_loads: int = 0
    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)  # how many answers had each
    errors: set[str] = field(default_factory=set)  # kinds of error of those that were not 200
    answers: list[tuple[str, int, list[float]]] = field(default_factory=list)  # digest, text and logits of each 200

    @property
    def rule(self) -> str:
        """The comparison of each answer."""
        return f"within {self.tolerance:g}" if self.tolerance else "the same bits"

    @property
    def num_other(self) -> int:
        """Requests that were not answered 200."""
        return sum(number for status, number in self.statuses.items() if status != 200)


def expected_logits(loaded: LoadedBackbone, files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Return by digest the logits [texts, outputs] of each adapter for each text alone."""
    bank = AdapterBank(loaded.identity.hidden_size, loaded.backbone.device, loaded.backbone.dtype)
    engine, found = Engine(loaded.backbone, bank), {}  # one thread: two would wait for each other in each small product
    encodings = loaded.encoder.encode(list(TEXTS), max_length=64)
    for data in files:
        adapter = checkpoint.parse(data)
        bank.write(0, adapter)
        batches = [BatchTokens.of([(0, [encoding])]) for encoding in encodings]
        found[adapter.digest] = np.stack([engine.forward(batch)[0][0] for batch in batches])
    engine.close()
    return found


def tell_apart(outcome: Outcome, answers: np.ndarray) -> None:
    """Count the pairs of adapters that the outcome's rule cannot tell apart: answers [adapters, texts, outputs]."""
    distances = []
    for index in range(len(answers) - 1):
        others = answers[index + 1 :]
        distances.append(float(np.abs(others - answers[index]).max(-1).min()))
        alike = np.isclose(others, answers[index], rtol=outcome.tolerance, atol=outcome.tolerance).all(-1)
        outcome.num_alike += int(alike.sum())
    outcome.least_distance = min(distances)


def compare(outcome: Outcome, expected: dict[str, np.ndarray]) -> None:
    """Compare each answer with what the adapter of its digest computes for the text alone."""
    outcome.num_predictions = len(outcome.answers)
    if not outcome.answers:
        return
    alone = np.stack([expected[digest][text] for digest, text, _ in outcome.answers])
    logits = np.array([logits for _, _, logits in outcome.answers], np.float32)
    outcome.largest_difference = float(np.abs(logits - alone).max())
    same = np.isclose(logits, alone, rtol=outcome.tolerance, atol=outcome.tolerance).all(-1)
    outcome.num_wrong = int((~same).sum())
