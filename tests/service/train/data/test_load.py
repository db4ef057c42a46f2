"""Columns, labels and parts of the data of one task."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from service.train.errors import TrainingError
from tests.support.training_data import complaint, load, write

ROWS = [{"text": f"text number {i}", "label": ("good", "bad")[i % 2]} for i in range(20)]


@pytest.mark.parametrize(
    ("header", "text", "pair"),
    [
        ("sentence,label", "a", None),
        ("content,class", "a", None),
        ("sentence1,sentence2,label", "a", "b"),
        ("text_a,text_b,score", "a", "b"),
        ("text,text_pair,target", "a", "b"),
        ("premise,hypothesis,label", "a", "b"),
        ("question,sentence,label", "a", "b"),
    ],
)
def test_columns_are_recognised(tmp_path: Path, header: str, text: str, pair: str | None) -> None:
    """The usual names of text, pair and label columns need no options."""
    middle = "a,b" if pair else "a"
    file = write(tmp_path / "a.csv", f"{header}\n{middle},x\n{middle},y\n")
    data = load(file, file)
    assert data.pair is (pair is not None)
    assert data.train.inputs[0] == ((text, pair) if pair else text)


def test_columns_can_be_named(tmp_path: Path) -> None:
    """Explicit columns win over those that would be recognised."""
    file = write(tmp_path / "a.csv", "id,text,label,title,mood\n1,no,p,A,x\n2,no,q,B,y\n")
    data = load(file, file, text_column="title", pair_column="text", label_column="mood")
    assert data.train.inputs == [("A", "no"), ("B", "no")]
    assert data.scheme.names == ("x", "y")


@pytest.mark.parametrize(
    ("labels", "expected", "names"),
    [
        ([0, 1, 10, 9], "single_label", ("0", "1", "9", "10")),
        ([True, False, True, False], "single_label", ("false", "true")),
        (["b", "a", "b", "a"], "single_label", ("a", "b")),
        ([0.5, 1, 2.5, 3], "regression", ()),
        (["0.5", "1", "2.5", "3"], "regression", ()),
        ([["a", "b"], [], ["b"], ["c"]], "multi_label", ("a", "b", "c")),
    ],
)
def test_the_type_is_inferred_from_the_labels(
    tmp_path: Path, labels: list[Any], expected: str, names: tuple[str]
) -> None:
    """Lists are several labels, numbers with a point a regression, all else classes; integers sort as numbers."""
    file = write(tmp_path / "a.jsonl", [{"text": "t", "label": label} for label in labels])
    data = load(file, file)
    assert (data.scheme.type, data.scheme.names) == (expected, names)


def test_labels_with_separators_are_several(tmp_path: Path) -> None:
    """Labels with bars between them are a multi-label task, in any column, and so are lists as pandas writes them into
    a CSV file; an empty field, or an empty list, is no label."""
    for content in (
        "text,labels\nabc,red|blue\nabd,blue\nabe,\n",
        "text,label\nabc,red|blue\nabd,blue\nabe,\n",
        "text,labels\nabc,red;blue\nabd,blue\nabe,\n",
        "text,label\nabc,\"['red', 'blue']\"\nabd,['blue']\nabe,[]\n",
        'text,label\nabc,"[""red"", ""blue""]"\nabd,"[""blue""]"\nabe,\n',
    ):
        file = write(tmp_path / "a.csv", content)
        data = load(file, file)
        assert (data.scheme.type, data.scheme.names) == ("multi_label", ("blue", "red"))
        assert data.train.targets == [(0, 1), (0,), ()]


def test_a_list_without_commas_is_no_list(tmp_path: Path) -> None:
    """numpy prints arrays so, and Python would read one long label."""
    file = write(tmp_path / "a.csv", "text,label\nabc,['red']\nabd,['red' 'blue']\n")
    assert "a.csv, line 3: labels \"['red' 'blue']\" are not a list such as ['a', 'b']" in complaint(file, file)


def test_one_column_per_label(tmp_path: Path) -> None:
    """--label-columns makes one label of each column of 0 and 1, in the order named; so are Parquet's booleans."""
    columns = {"label_columns": ("toxic", "angry", "never")}
    file = write(tmp_path / "a.csv", "text,angry,toxic,never\nabc,1,1,0\nabd,0.0,true,0\nabe,0,0,0\n")
    data = load(file, file, **columns)
    assert (data.scheme.type, data.scheme.names) == ("multi_label", ("toxic", "angry", "never"))
    assert data.train.targets == data.validation.targets == [(0, 1), (0,), ()]
    assert any("no row has the label 'never'" in warning for warning in data.warnings)
    rows = {"text": ["a", "b"], "toxic": [True, False], "angry": [False, True], "never": [False, False]}
    Dataset.from_dict(rows).to_parquet(str(tmp_path / "a.parquet"))
    assert load(str(tmp_path / "a.parquet"), file, **columns).train.targets == [(0,), (1,)]


def test_faults_of_label_columns_are_explained(tmp_path: Path) -> None:
    """A field that is neither 0 nor 1, a column that is not there, in training or in validation, options that clash."""
    file = write(tmp_path / "a.csv", "text,angry,toxic\nabc,1,1\nabd,0,2\n")
    columns = {"label_columns": ("angry", "toxic")}
    assert complaint(file, file, **columns) == (
        "a.csv, line 3: toxic is '2'; write 0 or 1 in a column of --label-columns"
    )
    assert "no column 'sad' (--label-columns)" in complaint(file, file, label_columns=("angry", "sad"))
    good = write(tmp_path / "good.csv", "text,angry,toxic\nabc,1,1\nabd,0,0\n")
    other = write(tmp_path / "other.csv", "text,angry\nabc,1\n")
    assert "other.csv: no column 'toxic', which the training data has" in complaint(good, other, **columns)
    assert "these with --label-columns angry,toxic" in complaint(good, good)
    for clash in ({"label_column": "a", "label_columns": ("b",)}, columns | {"type": "regression"}):
        with pytest.raises(TrainingError, match="leave out --label-column and --type"):
            load(good, good, **clash)


@pytest.mark.parametrize(
    ("column", "labels", "hint"),
    [
        ("label", range(12), True),
        ("label", [f"{number}" for number in range(12)], True),
        ("score", [1, 2, 3] * 4, True),
        ("label", [1, 2, 3] * 4, False),
        ("score", [0, 1] * 6, False),
        ("label", [f"class {number}" for number in range(12)], False),
    ],
)
def test_whole_numbers_may_be_amounts(tmp_path: Path, column: str, labels: Any, hint: bool) -> None:
    """Many of them, or some in a column that is called score, are classes with a hint at --type regression."""
    file = write(tmp_path / "a.jsonl", [{"text": f"text {i}", column: label} for i, label in enumerate(labels)])
    data = load(file, file)
    assert data.scheme.type == "single_label"
    assert any("--type regression learns them as amounts" in warning for warning in data.warnings) == hint
    if isinstance(labels, range):
        wanted = load(file, file, type="regression")
        assert wanted.train.targets == [float(label) for label in labels]
        assert not any("--type" in warning for warning in wanted.warnings)


def test_a_tenth_is_held_out_of_each_class(tmp_path: Path) -> None:
    """Without validation data, 10 % of each class validate; the same seed draws the same rows."""
    rows = [{"text": f"text {i}", "label": "rare" if i < 10 else "common"} for i in range(100)]
    file = write(tmp_path / "a.jsonl", rows)
    data, again, other = load(file), load(file), load(file, seed=1)
    assert data.held_out
    assert sorted(data.validation.targets) == [0] * 9 + [1]
    assert not set(data.train.inputs) & set(data.validation.inputs)
    assert len(data.train) + len(data.validation) == 100
    assert data.validation.inputs == again.validation.inputs != other.validation.inputs


def test_provenance_has_no_folder(tmp_path: Path) -> None:
    """The adapter file names data by base name, rows and SHA-256 of the file."""
    file = write(tmp_path / "a.jsonl", ROWS)
    provenance = load(file, file).train.provenance
    assert provenance["name"] == "a.jsonl"
    assert provenance["rows"] == 20
    assert len(str(provenance["sha256"])) == 64


def test_one_slip_in_a_regression_is_found(tmp_path: Path) -> None:
    """Among many numbers, a text label is an error with its line and not another class."""
    lines = [f"text {i},{i / 2}" for i in range(20)]
    file = write(tmp_path / "a.csv", "\n".join(["text,score", *lines, "text,four"]))
    assert "a.csv, line 22: label 'four' is not a number, as a regression needs" in complaint(file)


def test_a_wanted_regression_needs_numbers(tmp_path: Path) -> None:
    """--type regression on class names is an error; NaN is not a number either."""
    file = write(tmp_path / "a.jsonl", ROWS)
    assert "line 1: label 'good' is not a number" in complaint(file, type="regression")
    file = write(tmp_path / "b.csv", "text,score\na,1.5\nb,nan\n")
    assert "line 3: label 'nan' is not a number" in complaint(file, file, type="regression")


def test_a_wrong_column_option_lists_the_columns(tmp_path: Path) -> None:
    """An option that names a column which is not there says which are."""
    file = write(tmp_path / "a.jsonl", ROWS)
    message = complaint(file, label_column="lable")
    assert message == "a.jsonl: no column 'lable' (--label-column); it has text, label"


def test_validation_must_fit_the_training_data(tmp_path: Path) -> None:
    """A validation label that training never saw, or a column that it lacks, is an error."""
    train = write(tmp_path / "train.jsonl", ROWS)
    strange = write(tmp_path / "strange.jsonl", [{"text": "a", "label": "good"}, {"text": "b", "label": "ugly"}])
    assert complaint(train, strange) == (
        "strange.jsonl, line 2: label 'ugly' never occurs in the training data (bad, good); correct it, or remove the "
        "row"
    )
    other = write(tmp_path / "other.jsonl", [{"sentence": "a", "label": "good"}])
    assert "other.jsonl: no column 'text', which the training data has; it has sentence, label" in complaint(
        train, other
    )


def test_too_many_classes_are_a_mistake(tmp_path: Path) -> None:
    """A column of identifiers is not taken for two thousand classes."""
    file = write(tmp_path / "a.jsonl", [{"text": "t", "label": f"id{i}"} for i in range(2000)])
    assert "2000 different labels" in complaint(file)


def test_too_few_rows_to_hold_out(tmp_path: Path) -> None:
    """With one row per class nothing can be held out."""
    file = write(tmp_path / "a.csv", "text,label\na,x\nb,y\n")
    assert "has one row, so none can be held out" in complaint(file)
