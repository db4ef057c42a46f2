"""Load and check the data of one task: files or Hub data sets -> inputs and targets."""

from dataclasses import dataclass
from typing import Any

from adapters.backbone.text_encoder import TextInput, is_blank
from adapters.config import TaskSpec
from service.train.data.columns import Roles, find_roles, merge_labels, select_columns
from service.train.data.duplicates import describe_duplicates, describe_leaks, drop_duplicates
from service.train.data.folds import MAX_ROWS, assign_folds
from service.train.data.gate_keys import check_keys, read_key
from service.train.data.holdout import describe_held_out, hold_out
from service.train.data.labels import Label, LabelScheme, read_labels, read_scheme
from service.train.data.reading.source import is_file, read_source
from service.train.data.split import Split, describe_balance, describe_unmeasured
from service.train.data.table import Table
from service.train.errors import DataError, list_names
from service.train.options import DataOptions


@dataclass(frozen=True)
class TaskData:
    """The data of one training."""

    scheme: LabelScheme
    because: str  # the reason for its type
    roles: Roles
    train: Split
    validation: Split
    held_out: bool  # the validation rows were taken from the training data
    warnings: tuple[str, ...] = ()  # each in one line with a remedy
    folds: tuple[int, ...] = ()  # of each training row, if the validation rows are training rows, cross-validated

    @property
    def pair(self) -> bool:
        """Whether an input is a pair of texts."""
        return self.roles.pair is not None


def load_data(options: DataOptions, *, seed: int, weighted: bool = False, cross_validate: bool = False) -> TaskData:
    """Read, check and split the data of a task.

    `seed` draws the held-out rows, or the folds: with `cross_validate`, few rows without validation data stay whole.
    `weighted` classes are not warned of as skewed. Raises DataError with the file, the line and the remedy.
    """
    table, sha256 = read_source(options.train, "train", options.encoding)
    roles = find_roles(table, options)
    notes = [*table.notes, *roles.notes]
    table = merge_labels(select_columns(table, roles), roles)
    reading = read_labels(
        table, roles.label, options.task_type, names=options.label_names, merge_spellings=options.merge_spellings
    )
    scheme, warnings = reading.scheme, [*notes, *reading.warnings]
    because = "each label has a column of 0 and 1" if roles.labels else reading.because
    train = whole = _split(table, roles, scheme, sha256)
    if roles.key:
        check_keys(whole, roles.key)
    validation = _read_validation(options, roles, scheme, warnings)
    if options.drop_duplicates:
        train = drop_duplicates(whole, validation)
        warnings.append(f"{whole.name}: --drop-duplicates left out {len(whole) - len(train):,} of {len(whole):,} rows")
    warnings += describe_duplicates(train)
    held_out = validation is None
    folds: tuple[int, ...] = ()
    if validation is None and cross_validate and len(train) <= MAX_ROWS:
        folds = assign_folds(train, scheme, seed=seed)
    if folds:
        validation = train.take([row for row, fold in enumerate(folds) if fold >= 0], "cross-validated rows")
    else:
        if validation is None:
            train, validation = hold_out(train, scheme, seed=seed)
            warnings += describe_held_out(train, validation)
        warnings += describe_leaks(train, validation)
    warnings += describe_unmeasured(scheme, train, validation)
    warnings += describe_balance(scheme, train, weighted=weighted)
    return TaskData(scheme, because, roles, train, validation, held_out, tuple(warnings), folds)


def read_rows(options: DataOptions, task: TaskSpec) -> Split:
    """Read all rows of the training data as rows of an existing task, whose labels and type they must have.

    Raises DataError with the file, the line and the remedy.
    """
    table, sha256 = read_source(options.train, "train", options.encoding)
    roles = find_roles(table, options)
    table = merge_labels(select_columns(table, roles), roles)
    if task.pair != (roles.pair is not None):
        takes, has = ("pairs of texts", "one text") if task.pair else ("single texts", "pairs of texts")
        raise DataError(
            f"{table.name}: the task takes {takes}, and the rows have {has}; name the columns with --text-column"
            + (" and --pair-column" if task.pair else "")
        )
    return _split(table, roles, read_scheme(table, roles.label, task), sha256)


def _read_validation(options: DataOptions, roles: Roles, scheme: LabelScheme, warnings: list[str]) -> Split | None:
    name = options.validation
    if name is None and not is_file(options.train):
        name = f"{options.train.partition(':')[0]}:validation"
    if name is None:
        return None
    table, sha256 = read_source(name, "validation", options.encoding)
    warnings += [note for note in table.notes if note not in warnings]
    # the columns are those of the training data: a validation file cannot choose others
    return _split(merge_labels(select_columns(table, roles), roles), roles, scheme, sha256)


def _split(table: Table, roles: Roles, scheme: LabelScheme, sha256: str) -> Split:
    inputs: list[TextInput] = []
    targets: list[Label] = []
    keys: list[str] = []
    for number, record in table.records:
        text = _text(table, number, roles.text, record.get(roles.text))
        if roles.pair is None:
            inputs.append(text)
        else:
            inputs.append((text, _text(table, number, roles.pair, record.get(roles.pair))))
        targets.append(scheme.read(table, number, record.get(roles.label)))
        if roles.key:
            keys.append(read_key(table, number, roles.key, record.get(roles.key)))
    return Split(table.name, inputs, targets, [number for number, _ in table.records], table.unit, sha256, keys=keys)


def _text(table: Table, number: int, column: str, value: Any) -> str:
    if value is None or (isinstance(value, str) and is_blank(value)):
        invisible = ", it holds only characters that do not show" if value and value.strip() else ""
        raise DataError(f"{table.place(number)}: {column} is empty{invisible}; remove the row, or fill it in")
    if not isinstance(value, str):
        raise DataError(f"{table.place(number)}: {column} is {_describe(column, value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{table.place(number)}: {column} has half a Unicode character (a lone surrogate); correct it"
        ) from None
    return value


def _describe(column: str, value: Any) -> str:
    if isinstance(value, dict):
        fields = list_names(f"{column}.{name}" for name in value)
        return f"an object, not a text; name the field in it with --text-column or --pair-column: {fields}"
    if isinstance(value, list):
        return f"a list, not a text; join it, or name an item with --text-column {column}.0"
    if isinstance(value, bytes):
        return "bytes, not a text; decode them, and write a column of strings"
    return f"not a text but {type(value).__name__}; put it in quotes"
