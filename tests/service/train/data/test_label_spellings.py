"""Labels that look alike: the same class in every file, or a warning and --merge-spellings."""

from pathlib import Path
from typing import Any

import pytest

from service.train.data.load import TaskData
from service.train.errors import DataError, TrainingError
from service.train.options import DataOptions
from tests.support.training_data import load as load_files


def write(path: Path, labels: list[str]) -> str:
    """A CSV file with these labels."""
    path.write_text("text,label\n" + "".join(f"text {i} of {path.stem},{label}\n" for i, label in enumerate(labels)))
    return str(path)


def load(folder: Path, train: list[str], validation: list[str], **changes: Any) -> TaskData:
    """Load a training whose other options do not matter."""
    files = (write(folder / "train.csv", train), write(folder / "dev.csv", validation))
    return load_files(*files, **changes)


@pytest.mark.parametrize(
    ("train", "validation", "names"),
    [
        (["True", "False"], ["true", "false"], ("false", "true")),
        (["true", "false"], ["TRUE", "FALSE"], ("false", "true")),
        (["0", "1"], ["0.0", "1.0"], ("0", "1")),
        (["0.0", "1.0"], ["0", "1"], ("0", "1")),
        (["caf\u00e9", "bar"], ["cafe\u0301", "bar"], ("bar", "caf\u00e9")),
        (["caf\u00e9 ", "bar", "cafe\u0301"], ["caf\u00e9", "bar"], ("bar", "caf\u00e9")),
        (["a\u00a0b", "b"], ["a b", " b"], ("a b", "b")),
    ],
)
def test_one_class_in_both_files(
    tmp_path: Path, train: list[str], validation: list[str], names: tuple[str, ...]
) -> None:
    """Booleans, whole numbers with a point, composed accents and outer spaces have one name, and no warning."""
    data = load(tmp_path, train, validation)
    assert data.scheme.names == names
    assert {data.scheme.names[target] for target in data.validation.targets} == set(names)  # type: ignore[index]
    assert not any("differ only" in warning for warning in data.warnings)


def test_true_among_other_labels_keeps_its_spelling(tmp_path: Path) -> None:
    """Only a column of nothing but true and false holds booleans."""
    data = load(tmp_path, ["True", "Half true", "False"], ["True"])
    assert data.scheme.names == ("False", "Half true", "True")
    with pytest.raises(DataError, match=r"dev\.csv, line 2: label 'true' is written 'True' in the training data"):
        load(tmp_path, ["True", "Half true", "False"], ["true"])


@pytest.mark.parametrize("one", ["REFUND", "Refund", "re fund ", "\uff52efund"])
def test_near_equal_spellings_are_reported(tmp_path: Path, one: str) -> None:
    """Case, inner spaces and full-width letters: both spellings with their counts, and the option."""
    other = "re  fund" if " " in one else "refund"
    data = load(tmp_path, [one, other, other, "order"], [other, "order"])
    assert len(data.scheme.names) == 3
    assert data.warnings[0] == (
        f"train.csv: labels that look alike are different classes: {other!r} (2 rows) and "
        f"{one.strip()!r} (1 row); --merge-spellings merges them into the most frequent one"
    )


def test_spellings_can_be_merged(tmp_path: Path) -> None:
    """The most frequent spelling names the class; validation may have any; other labels stay as they are."""
    train, validation = ["Spam", "spam", "spam", "SPAM", "ham"], ["sPAM", "ham", "Spam"]
    data = load(tmp_path, train, validation, merge_spellings=True)
    assert data.scheme.names == ("ham", "spam")
    assert (data.train.targets, data.validation.targets) == ([1, 1, 1, 1, 0], [1, 0, 1])
    assert data.warnings[0] == (
        "train.csv: --merge-spellings merges these labels into the first: 'spam' (2 rows) and 'SPAM' "
        "(1 row) and 'Spam' (1 row)"
    )
    several = load(tmp_path, ["Spam|ham", "spam", "spam"], ["ham|SPAM"], merge_spellings=True)
    assert (several.scheme.names, several.train.targets) == (("ham", "spam"), [(0, 1), (1,), (1,)])
    with pytest.raises(DataError, match="only the label 'spam'"):
        load(tmp_path, ["Spam", "spam", "spam"], ["spam"], merge_spellings=True)


def test_another_spelling_in_validation_is_an_error_with_both(tmp_path: Path) -> None:
    """It names the spelling of the training data and the option."""
    with pytest.raises(DataError) as caught:
        load(tmp_path, ["Spam", "ham"], ["spam"])
    assert str(caught.value) == (
        "dev.csv, line 2: label 'spam' is written 'Spam' in the training data; correct it, or --merge-spellings merges "
        "both"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_names": ("a", "a")}, "a name occurs twice"),
        ({"label_names": ("a", "b" * 201)}, "is not 1 to 200 printable characters"),
        ({"label_names": ("a", "b\n")}, "is not 1 to 200 printable characters"),
        ({"label_names": ("a", "b"), "type": "regression"}, "a regression has no classes to name"),
        ({"label_names": ("a", "b"), "label_columns": ("a", "b")}, "leave one of them out"),
    ],
)
def test_names_that_cannot_be(changes: Any, message: str) -> None:
    """They are refused before any file is read."""
    with pytest.raises(TrainingError, match=message):
        DataOptions(train="a.csv", **changes)
