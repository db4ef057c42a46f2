"""Split: checked rows, ready to be encoded, and warnings about how often each label occurs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import JsonValue

from adapters.backbone.text_encoder import TextInput
from service.train.data.labels import Label, LabelScheme


@dataclass(frozen=True)
class Split:
    """Inputs and targets by row, and the place of each row in its file."""

    file: str  # name of the file without its folder, or of the data set; in messages and in the adapter file
    inputs: list[TextInput]
    targets: list[Label]
    numbers: list[int]  # line or row of the file
    unit: str  # "line" or "row"
    sha256: str  # digest of the file, or of the rows of a Hub data set
    part: str = ""  # name of this part if the file was split
    keys: Sequence[str] = ()  # that choose a gate, one per row; empty: the task has no gates

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def name(self) -> str:
        """The file and its part, for messages."""
        return f"{self.file} ({self.part})" if self.part else self.file

    @property
    def provenance(self) -> dict[str, JsonValue]:
        """The entry in the adapter file's training record."""
        return {"name": self.name, "rows": len(self), "sha256": self.sha256}

    def place(self, row: int) -> str:
        """The place in the file of the row with this index, for messages."""
        return f"{self.file}, {self.unit} {self.numbers[row]}"

    def take(self, rows: Sequence[int], part: str | None = None) -> "Split":
        """A split of the rows with these indices; `part` names it as another part of the file."""
        return replace(
            self,
            inputs=[self.inputs[row] for row in rows],
            targets=[self.targets[row] for row in rows],
            numbers=[self.numbers[row] for row in rows],
            keys=[self.keys[row] for row in rows] if self.keys else (),
            part=self.part if part is None else part,
        )


SHOWN = 5  # names in a message
SKEWED = 10  # ratio of the most frequent label to the rarest from which a warning says so


def count_labels(targets: Sequence[Label], num_labels: int) -> np.ndarray:
    """Count the rows with each label, [num_labels]; targets are classes or sets of classes."""
    counts = np.zeros(num_labels, dtype=np.int64)
    for target in targets:
        counts[list(target) if isinstance(target, tuple) else target] += 1  # type: ignore[index]  # never a float
    return counts


def describe_balance(scheme: LabelScheme, train: Split, *, weighted: bool) -> list[str]:
    """Warn of labels without a training row, and of skewed classes unless they are weighted."""
    if scheme.type == "regression":
        return []
    counts = count_labels(train.targets, len(scheme.names))
    warnings = []
    if absent := [scheme.names[index] for index in np.flatnonzero(counts == 0)]:
        warnings.append(
            f"{train.name}: no row has the label {quote_labels(absent)}, so it cannot be learnt; add rows that have it"
        )
    rarest = int(np.where(counts > 0, counts, counts.max()).argmin())
    most = int(counts.argmax())
    if counts[rarest] * SKEWED < counts[most] and not weighted:
        warnings.append(
            f"{train.name}: the labels are skewed, {counts[most]:,} rows of {scheme.names[most]!r} and "
            f"{counts[rarest]:,} of {scheme.names[rarest]!r}; --class-weights balanced weighs them alike, --metric f1 "
            "judges them alike"
        )
    return warnings


def describe_unmeasured(scheme: LabelScheme, train: Split, validation: Split) -> list[str]:
    """Warn if labels of the training data do not occur in the validation data."""
    if scheme.type == "regression":
        return []
    trained, measured = (count_labels(part.targets, len(scheme.names)) > 0 for part in (train, validation))
    missing = [scheme.names[index] for index in np.flatnonzero(trained & ~measured)]
    if not missing:
        return []
    return [
        f"{validation.name}: no row has {quote_labels(missing)}, {len(missing):,} of the {len(scheme.names):,} labels, "
        "so no score measures them; add rows with other texts"
    ]


def quote_labels(names: Sequence[str]) -> str:
    """The first names of labels in quotes, for a message."""
    return ", ".join(repr(name[:40]) for name in names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
