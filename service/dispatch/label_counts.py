"""LabelCounts: how often each version has answered each label since the server started."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from service.core import AdapterRef


@dataclass(slots=True)
class Counted:
    """Counts of one version's answers."""

    num_inputs: int
    totals: np.ndarray  # [num outputs] float64: inputs that got each label; of a regression, [1]: the sum of the values


class LabelCounts:
    """Counts in memory, bounded by the labels of the versions that are published. Owned by the event loop."""

    def __init__(self) -> None:
        self._counted: dict[str, Counted] = {}  # by digest

    def add(self, adapter: AdapterRef, logits: np.ndarray) -> None:
        """Count the answers of `logits` [N, num outputs].

        These are the best label of each row, every label of 0.5 and more (multi_label), or the value (regression).
        """
        num_inputs, num_outputs = logits.shape
        if adapter.task_type == "single_label":
            totals = np.bincount(logits.argmax(axis=1), minlength=num_outputs)
        elif adapter.task_type == "multi_label":
            totals = (logits >= 0).sum(axis=0)
        else:
            totals = logits.sum(axis=0, dtype=np.float64)
        counted = self._counted.get(adapter.digest)
        if counted is None:
            counted = self._counted[adapter.digest] = Counted(0, np.zeros(num_outputs))
        counted.num_inputs += num_inputs
        counted.totals += totals

    def of(self, digest: str) -> Counted | None:
        """The counts of the version with that digest; None before its first answer."""
        return self._counted.get(digest)

    def on_registry_change(self, published: Collection[str]) -> None:
        """Forget every version whose digest is not among `published`."""
        for digest in self._counted.keys() - set(published):
            del self._counted[digest]
