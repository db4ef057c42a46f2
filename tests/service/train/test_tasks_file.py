"""tasks.toml: the options of several tasks, and its faults in one line."""

from pathlib import Path
from typing import Any

import pytest

from service.train.errors import TrainingError
from service.train.options import TrainOptions
from service.train.tasks_file import read_tasks

TWO = '[one]\ntrain = "one.csv"\n[two]\ntrain = "data/two.csv"\n'


def common(**changes: Any) -> dict[str, Any]:
    """Options of the command line without a value."""
    return {"task": None, "train": None, "output": None, "gate": None, "epochs": 3} | changes


def read(folder: Path, text: str, **changes: Any) -> list[TrainOptions]:
    path = folder / "tasks.toml"
    path.write_text(text)
    return read_tasks(path, common(**changes))


def complaint(folder: Path, text: str, **changes: Any) -> str:
    with pytest.raises(TrainingError) as caught:
        read(folder, text, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tasks_have_their_own_data_and_common_options(tmp_path: Path) -> None:
    """Paths are relative to the file; options of the command line hold for all tasks, those of a table for one."""
    one, two = read(
        tmp_path,
        '[one]\ntrain = "one.csv"\nmetric = "f1"\nlabel_columns = ["a", "b"]\n'
        '[two]\ntrain = "data/two.csv"\nvalidation = "dev.csv"\nmax_length = 64\ntype = "regression"\n',
        seed=7,
    )
    assert (one.task, two.task) == ("one", "two")
    assert (one.data.train, two.data.train) == (str(tmp_path / "one.csv"), str(tmp_path / "data/two.csv"))
    assert (one.data.validation, two.data.validation) == (None, str(tmp_path / "dev.csv"))
    assert (one.fit.metric, two.fit.metric) == ("f1", None)
    assert one.data.label_columns == ("a", "b")
    assert (two.fit.max_length, two.data.type) == (64, "regression")
    assert {task.fit.seed for task in (one, two)} == {7}
    assert {task.fit.epochs for task in (one, two)} == {3}
    assert (one.folder, two.folder) == (Path("runs/tasks/one"), Path("runs/tasks/two"))


def test_a_data_set_of_the_hub_keeps_its_name(tmp_path: Path) -> None:
    """A name that means no file is a data set of the Hub."""
    one, _ = read(tmp_path, '[one]\ntrain = "owner/name:train"\n[two]\ntrain = "two.csv"\n')
    assert one.data.train == "owner/name:train"


def test_the_output_has_a_folder_for_each_task(tmp_path: Path) -> None:
    """OUTPUT/TASK."""
    assert [task.folder for task in read(tmp_path, TWO, output=tmp_path / "o")] == [
        tmp_path / "o" / "one",
        tmp_path / "o" / "two",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 task"),
        ('[one]\ntrain = "one.csv"\n', "1 task"),
        ("[one]\n[two]\ntrain = 'a.csv'\n", "task 'one' has no data; name its file"),
        ("[one]\ntrain = ''\n[two]\ntrain = 'a.csv'\n", "task 'one' has no data"),
        ("one = 1\n[two]\ntrain = 'a.csv'\n", "task 'one' is not a table"),
        (TWO + "learning_rate = 1.0\n", "task 'two' has learning_rate; a task has train, validation"),
        (TWO + "gate = 'user'\n", "task 'two' has gate"),
        (TWO + "label_column = 5\n", "task 'two': --label-column 5: it must be a valid string"),
        (TWO + "max_length = 2\n", "task 'two': --max-length 2"),
        ("[One]\ntrain = 'a.csv'\n[two]\ntrain = 'b.csv'\n", "task 'One': task 'One': a name is"),
        (TWO + "[two]\n", "is not TOML"),
        ("[one\n", "is not TOML"),
        (TWO + "backbone = 'x/bert'\n", "task one is for backbone 'None', task two for 'x/bert'"),
    ],
)
def test_faults_name_the_file_and_the_task(tmp_path: Path, text: str, message: str) -> None:
    """Each fault is one line with its place."""
    found = complaint(tmp_path, text)
    assert message in found
    assert found.startswith(str(tmp_path / "tasks.toml"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder, and bytes that are not UTF-8."""
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(TrainingError, match=r"\(--tasks\)"):
            read_tasks(path, common())
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TrainingError, match="is not UTF-8"):
        read_tasks(tmp_path / "a.toml", common())
