"""Changes: what the clients of a task would meet if another version became live, and whether it would break them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.config import TaskSpec, TaskType

MAX_LABELS_SHOWN = 10  # in words; the lists hold all of them
MAX_LABEL_CHARS_SHOWN = 40


@dataclass(frozen=True)
class Changes:
    """How a version differs from the live one. A pair of values is (before, after); None: it stays."""

    live: int  # number of the version compared with
    type: tuple[TaskType, TaskType] | None
    pair: tuple[bool, bool] | None
    labels_removed: tuple[str, ...]
    labels_added: tuple[str, ...]
    labels_reordered: bool  # labels that stay have another place among the outputs
    max_length: tuple[int, int] | None  # tokens

    @property
    def breaking(self) -> list[str]:
        """In words, what clients that know only the live version cannot cope with."""
        words = []
        if self.type:
            words.append("type: {} -> {}".format(*self.type))
        if self.pair:
            words.append(
                "inputs: {} -> {}".format(*("pairs of texts" if pair else "single texts" for pair in self.pair))
            )
        if self.labels_removed:
            words.append(f"labels removed: {_listed(self.labels_removed)}")
        return words

    @property
    def notes(self) -> list[str]:
        """In words, what clients can cope with and should know."""
        words = []
        if self.labels_added:
            words.append(f"labels added: {_listed(self.labels_added)}")
        if self.labels_reordered:
            words.append("labels in another order")
        if self.max_length:
            words.append("max_length: {} -> {} tokens".format(*self.max_length))
        return words

    def as_json(self) -> dict[str, Any]:
        """As the admin API shows it."""

        def change(values: tuple[Any, Any] | None) -> dict[str, Any] | None:
            return values and {"before": values[0], "after": values[1]}

        return {
            "live": self.live,
            "compatible": not self.breaking,
            "breaking": self.breaking,
            "notes": self.notes,
            "type": change(self.type),
            "pair": change(self.pair),
            "labels_removed": list(self.labels_removed),
            "labels_added": list(self.labels_added),
            "labels_reordered": self.labels_reordered,
            "max_length": change(self.max_length),
        }


def compare(live: int, before: TaskSpec, after: TaskSpec) -> Changes | None:
    """What changes for clients between `before`, the spec of version `live`, and `after`; None: nothing does.

    Temperature, pooling and weights are what a new version is made for: they are no change in this sense.
    """
    if _of_interest(before) == _of_interest(after):  # of most versions, and lists of tasks compare very many
        return None
    kept = set(before.labels) & set(after.labels)
    return Changes(
        live=live,
        type=None if before.type == after.type else (before.type, after.type),
        pair=None if before.pair == after.pair else (before.pair, after.pair),
        labels_removed=tuple(label for label in before.labels if label not in kept),
        labels_added=tuple(label for label in after.labels if label not in kept),
        labels_reordered=any(
            one != other and (one in kept or other in kept)
            for one, other in zip(before.labels, after.labels, strict=False)
        ),
        max_length=None if before.max_length == after.max_length else (before.max_length, after.max_length),
    )


def _of_interest(spec: TaskSpec) -> tuple[TaskType, bool, tuple[str, ...], int]:
    return spec.type, spec.pair, spec.labels, spec.max_length


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(repr(label[:MAX_LABEL_CHARS_SHOWN]) for label in labels[:MAX_LABELS_SHOWN])
    more = len(labels) - MAX_LABELS_SHOWN
    return shown + (f" and {more:,} more" if more > 0 else "")
