"""Load and check the data of one task: tables -> inputs and targets."""

import hashlib
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.encoding import TextInput
from service.train.columns import Roles, find_roles
from service.train.errors import DataError
from service.train.hub import HUB_NAME, read_hub
from service.train.labels import Label, LabelScheme, find_scheme
from service.train.options import TrainOptions
from service.train.readers import READERS, read_file
from service.train.split import Split
from service.train.table import Table

HELD_OUT = 0.1  # share of the training rows that validate where no validation data is given


@dataclass(frozen=True)
class TaskData:
    """The data of one training."""

    scheme: LabelScheme
    pair: bool
    train: Split
    validation: Split
    held_out: bool  # the validation rows were taken from the training data


def load_data(options: TrainOptions) -> TaskData:
    """Read, check and split. Raises DataError with file, line and remedy."""
    table, sha256 = _read(options.train, "train")
    roles = find_roles(table, options.columns)
    scheme = find_scheme(table, roles.label, options.type)
    train = _split(table, roles, scheme, sha256)
    validation_name = options.validation or (None if _is_file(options.train) else options.train)
    if validation_name is None:
        train, validation = _hold_out(train, scheme, options.seed)
    else:
        table, sha256 = _read(validation_name, "validation")
        # the same column names are read, so that a validation file cannot mean something else
        _require(table, roles)
        validation = _split(table, roles, scheme, sha256)
    return TaskData(scheme, roles.pair is not None, train, validation, held_out=validation_name is None)


def _is_file(name: str) -> bool:
    path = Path(name)
    return path.exists() or path.suffix.lower() in READERS or HUB_NAME.fullmatch(name) is None


def _read(name: str, split: str) -> tuple[Table, str]:
    path = Path(name).expanduser()
    if _is_file(name):
        if path.is_dir():
            raise DataError(f"{name}: a folder; name the file in it")
        return read_file(path), _sha256(path)
    table = read_hub(name, split)
    rows = json.dumps([record for _, record in table.records], sort_keys=True, default=str)
    return table, hashlib.sha256(rows.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require(table: Table, roles: Roles) -> None:
    for column in (roles.text, roles.pair, roles.label):
        if column is not None and column not in table.columns:
            raise DataError(
                f"{table.name}: no column {column!r}, which the training data has; it has {', '.join(table.columns)}"
            )


def _split(table: Table, roles: Roles, scheme: LabelScheme, sha256: str) -> Split:
    inputs: list[TextInput] = []
    targets: list[Label] = []
    numbers = [number for number, _ in table.records]
    for number, record in table.records:
        text = _text(table, number, roles.text, record.get(roles.text))
        if roles.pair is None:
            inputs.append(text)
        else:
            inputs.append((text, _text(table, number, roles.pair, record.get(roles.pair))))
        targets.append(scheme.read(table, number, record.get(roles.label)))
    return Split(table.name, inputs, targets, numbers, table.unit, sha256)


def _text(table: Table, number: int, column: str, value: Any) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise DataError(f"{table.place(number)}: {column} is empty; remove the row, or fill it in")
    if not isinstance(value, str):
        raise DataError(f"{table.place(number)}: {column} is not a text but {type(value).__name__}; put it in quotes")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(f"{table.place(number)}: {column} has half a Unicode character (a lone surrogate)") from None
    return value


def _hold_out(split: Split, scheme: LabelScheme, seed: int) -> tuple[Split, Split]:
    """A tenth of the rows of each class, drawn by `seed`; of all rows where there are no classes."""
    by_class: dict[Label | None, list[int]] = defaultdict(list)
    for index, target in enumerate(split.targets):
        by_class[target if scheme.type == "single_label" else None].append(index)
    drawn = random.Random(seed)
    held: set[int] = set()
    for members in by_class.values():
        count = max(1, round(HELD_OUT * len(members))) if len(members) > 1 else 0
        held.update(drawn.sample(members, count))
    if not held:
        raise DataError(f"{split.name}: {len(split)} rows are too few to hold some out; give --validation FILE")
    rest = [row for row in range(len(split)) if row not in held]
    return split.take(rest, "training part"), split.take(sorted(held), "held-out part")
