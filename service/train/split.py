"""Split: rows that are checked and ready to be encoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from adapters.backbone.text_encoder import TextInput
from service.train.labels import Label


@dataclass(frozen=True)
class Split:
    """Inputs and targets, row by row, and where each stands in its file."""

    file: str  # or data set of the Hub, as errors and the adapter file name it: no folder
    inputs: list[TextInput]
    targets: list[Label]
    numbers: list[int]  # line or row of each in the file
    unit: str  # what those numbers count
    sha256: str  # of the file, or of the rows of a data set of the Hub
    part: str = ""  # which part of the file, where the file was split

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def name(self) -> str:
        """File and part."""
        return f"{self.file} ({self.part})" if self.part else self.file

    @property
    def provenance(self) -> dict[str, JsonValue]:
        """What the adapter file says of it."""
        return {"name": self.name, "rows": len(self), "sha256": self.sha256}

    def place(self, row: int) -> str:
        """Where the row with this index stands, for people."""
        return f"{self.file}, {self.unit} {self.numbers[row]}"

    def take(self, rows: Sequence[int], part: str | None = None) -> "Split":
        """The rows with these indices; `part` names them, where they are another part of the file."""
        return replace(
            self,
            inputs=[self.inputs[row] for row in rows],
            targets=[self.targets[row] for row in rows],
            numbers=[self.numbers[row] for row in rows],
            part=self.part if part is None else part,
        )
