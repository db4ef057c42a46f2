"""The answers of a run of wrong_adapter: each compared with what the adapter of its digest computes alone."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.source import LoadedBackbone
from adapters.config import MEAN_GATE
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from adapters.serving.layout import HostAdapter
from service.engine.engine import Engine

TEXTS = ("a good film", "the plot is dull and the actor is bad", "one two three four five", "?", "warm wine , cold sea")


@dataclass
class Outcome:
    """The observations of one run."""

    backbone: str
    num_adapters: int
    room: int
    users: Sequence[str] = ()  # who have gates in each file
    num_predictions: int = 0
    num_wrong: int = 0  # those with the wrong gate included
    num_wrong_gates: int = 0  # answers that name another gate than that of their user
    largest_difference: float = 0.0  # of a logit, from what the named digest computes alone
    tolerance: float = 0.0  # of a logit, absolute and relative; 0: the bits are compared
    least_distance: float = 0.0  # between two adapters' answers to one text
    num_alike: int = 0  # pairs of adapters, for each text, whose answers are equal within the tolerance
    num_swaps: int = 0
    num_loads: int = 0
    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)  # how many answers had each
    errors: set[str] = field(default_factory=set)  # kinds of error of those that were not 200
    answers: list[tuple[str, int, list[float]]] = field(default_factory=list)  # `name`, text and logits of each 200

    @property
    def rule(self) -> str:
        """The comparison of each answer."""
        return f"within {self.tolerance:g}" if self.tolerance else "the same bits"

    @property
    def num_other(self) -> int:
        """Requests that were not answered 200."""
        return sum(number for status, number in self.statuses.items() if status != 200)

    def draw_user(self, draw: random.Random) -> str | None:
        """Draw a user, sometimes one without a gate or none at all; None if the files have no gates."""
        return draw.choice([*self.users, *["a stranger", None] * 10]) if self.users else None

    def gate(self, user: str | None) -> str | None:
        """Return the gate that the answer for `user` must name; None if the files have no gates."""
        return ("user" if user in self.users else MEAN_GATE) if self.users else None

    def name(self, digest: str, user: str | None) -> str:
        """Return the name of the adapter that must answer `user`: its digest, and its user or the mean gate."""
        return _name(digest, user if user in self.users else None) if self.users else digest


def _name(digest: str, user: str | None) -> str:
    return f"{digest} {MEAN_GATE if user is None else user}"


def own_adapters(bank: AdapterBank, data: bytes, users: Sequence[str]) -> Iterator[tuple[str, HostAdapter]]:
    """Yield the adapters of a file by `Outcome.name`: one, or that of the mean gate and one for each user."""
    adapter = checkpoint.parse(data)
    if isinstance(adapter, Adapter):
        yield adapter.digest, bank.lay_out(adapter)
        return
    experts = bank.lay_out_experts(adapter)
    for user in (None, *users):
        row = None if user is None else adapter.gates.find(adapter.gates.config.digest(user))
        assert (row is None) == (user is None)
        yield _name(adapter.digest, user), experts.merge(row)


def expected_logits(loaded: LoadedBackbone, files: Sequence[bytes], users: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Return by `Outcome.name` the logits [texts, outputs] of each adapter for each text alone."""
    bank = AdapterBank(loaded.identity.hidden_size, loaded.backbone.device, loaded.backbone.dtype)
    engine, found = Engine(loaded.backbone, bank), {}  # one thread: two would wait for each other in each small product
    encodings = loaded.encoder.encode(list(TEXTS), max_length=64)
    for data in files:
        for name, adapter in own_adapters(bank, data, users):
            bank.put(0, adapter)
            batches = [BatchTokens.of([(0, [encoding])]) for encoding in encodings]
            found[name] = np.stack([engine.forward(batch)[0][0] for batch in batches])
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
    outcome.num_wrong = int((~same).sum()) + outcome.num_wrong_gates
