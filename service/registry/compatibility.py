"""Changes: how a version differs from the live one, and whether it would break the clients of the task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.config import TaskSpec, TaskType

MAX_LABELS_SHOWN = 10  # in messages; the lists hold all of them
MAX_LABEL_CHARS_SHOWN = 40


@dataclass(frozen=True)
class Changes:
    """How a version differs from the live one. A pair of values is (before, after); None: unchanged."""

    live: int  # number of the live version
    type: tuple[TaskType, TaskType] | None
    pair: tuple[bool, bool] | None
    labels_removed: tuple[str, ...]
    labels_added: tuple[str, ...]
    labels_reordered: bool  # a kept label has another position among the outputs
    max_length: tuple[int, int] | None  # tokens
    context: tuple[str | None, str | None] | None  # the field that chooses a gate; None in it: takes no context

    @property
    def breaking(self) -> list[str]:
        """Describe the differences that break clients written for the live version."""
        words = []
        if self.type:
            words.append("type: {} -> {}".format(*self.type))
        if self.pair:
            words.append(
                "inputs: {} -> {}".format(*("pairs of texts" if pair else "single texts" for pair in self.pair))
            )
        if self.labels_removed:
            words.append(f"labels removed: {_listed(self.labels_removed)}")
        if self.context and self.context[0] is not None:
            words.append("context: {} -> {}".format(*(field or "none" for field in self.context)))
        return words

    @property
    def notes(self) -> list[str]:
        """Describe the differences that do not break clients."""
        words = []
        if self.labels_added:
            words.append(f"labels added: {_listed(self.labels_added)}")
        if self.labels_reordered:
            words.append("labels in another order")
        if self.max_length:
            words.append("max_length: {} -> {} tokens".format(*self.max_length))
        if self.context and self.context[0] is None:
            words.append(f"takes the context {self.context[1]}")
        return words

    def as_json(self) -> dict[str, Any]:
        """Return the form that the admin API shows."""

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
            "context": change(self.context),
        }


def compare(
    live: int, before: TaskSpec, after: TaskSpec, fields: tuple[str | None, str | None] = (None, None)
) -> Changes | None:
    """Compare `before`, the spec of version `live`, with `after`; return None if nothing changes for clients.

    `fields` are those of the context by which both have gates. Temperature, pooling and weights may differ: new
    versions are made to change them.
    """
    is_same_field = fields[0] == fields[1]
    if is_same_field and _compared(before) == _compared(after):  # fast: lists of tasks compare very many versions
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
        context=None if is_same_field else fields,
    )


def _compared(spec: TaskSpec) -> tuple[TaskType, bool, tuple[str, ...], int]:
    return spec.type, spec.pair, spec.labels, spec.max_length


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(repr(label[:MAX_LABEL_CHARS_SHOWN]) for label in labels[:MAX_LABELS_SHOWN])
    more = len(labels) - MAX_LABELS_SHOWN
    return shown + (f" and {more:,} more" if more > 0 else "")
