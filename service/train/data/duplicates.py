"""Inputs that occur more than once: repeated rows, contradicting labels, validation inputs in the training data."""

from collections import defaultdict
from unicodedata import normalize

from adapters.backbone.text_encoder import TextInput
from service.train.data.labels import Label, LabelScheme
from service.train.data.split import Split
from service.train.errors import DataError

REMEDY = "--drop-duplicates leaves them out of training"


def rows_by_input(split: Split) -> dict[tuple[str, TextInput], list[int]]:
    """Indices of the rows of each input, in order; case, white space and the form of accents make no difference.

    Inputs of different keys are different: two users may label one text, and differ.
    """
    rows: dict[tuple[str, TextInput], list[int]] = defaultdict(list)
    for row, item in enumerate(split.inputs):
        rows[split.keys[row] if split.keys else "", _normalise(item)].append(row)
    return rows


def rows_by_class(split: Split, scheme: LabelScheme) -> list[list[list[int]]]:
    """Indices of the rows of each input, by class; all in one group unless the labels are single ones.

    Inputs whose classes contradict each other are left out.
    """
    by_class = scheme.type == "single_label"
    groups: dict[Label | None, list[list[int]]] = defaultdict(list)
    for rows in rows_by_input(split).values():
        targets = {split.targets[row] if by_class else None for row in rows}
        if len(targets) == 1:
            groups[targets.pop()].append(rows)
    return list(groups.values())


def _normalise(item: TextInput) -> TextInput:
    first, *second = (
        " ".join(normalize("NFC", text).split()).casefold() for text in ((item,) if isinstance(item, str) else item)
    )
    return (first, second[0]) if second else first


def describe_duplicates(split: Split) -> list[str]:
    """Warn of rows that repeat an earlier one, and of inputs whose labels contradict each other."""
    repeats: list[tuple[int, int]] = []  # (row, first row with the same input and label)
    conflicts: list[tuple[int, int]] = []  # (first two rows of an input with different labels)
    for rows in rows_by_input(split).values():
        first: dict[Label, int] = {}
        repeats += [(row, first[split.targets[row]]) for row in rows if first.setdefault(split.targets[row], row) < row]
        if len(first) > 1:
            one, other, *_ = first.values()
            conflicts.append((one, other))
    warnings = []
    if repeats:
        row, earlier = min(repeats)
        warnings.append(
            f"{split.place(row)} repeats {split.unit} {split.numbers[earlier]}; {_share(len(repeats), split)} have the "
            f"input and the label of an earlier one; {REMEDY}"
        )
    if conflicts:
        one, other = min(conflicts)
        warnings.append(
            f"{split.place(other)} has the input of {split.unit} {split.numbers[one]} with another label; inputs with "
            f"labels that contradict each other: {len(conflicts):,}; correct the labels, or remove the rows"
        )
    return warnings


def describe_leaks(train: Split, validation: Split) -> list[str]:
    """Warn if inputs of the validation data occur in the training data."""
    seen = rows_by_input(train)
    leaks = [(row, seen[item][0]) for item, rows in rows_by_input(validation).items() if item in seen for row in rows]
    if not leaks:
        return []
    row, known = min(leaks)
    return [
        f"{validation.place(row)} occurs in the training data, too ({train.place(known)}), like "
        f"{_share(len(leaks), validation)}, which makes the scores too good; {REMEDY}"
    ]


def drop_duplicates(train: Split, validation: Split | None) -> Split:
    """Drop the training rows that repeat an earlier input with its label, or whose input is in `validation`.

    Raises DataError if no row of some label would be left.
    """
    held = rows_by_input(validation).keys() if validation else ()
    keep: list[int] = []
    for item, rows in rows_by_input(train).items():
        if item not in held:
            keep += {train.targets[row]: row for row in reversed(rows)}.values()
    kept = train.take(sorted(keep))
    if not keep or (isinstance(train.targets[0], int) and set(kept.targets) != set(train.targets)):
        raise DataError(
            f"{train.name}: --drop-duplicates would leave no row of some label, as the validation data has the same "
            "inputs; give other validation data"
        )
    return kept


def _share(count: int, split: Split) -> str:
    return f"{count:,} of {len(split):,} rows ({count / len(split):.1%})"
