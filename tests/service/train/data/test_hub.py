"""Data sets of the Hub, and which names are asked there."""

from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value
from datasets.exceptions import DatasetNotFoundError

from service.train.data.reading import hub_access
from tests.service.train.data.test_load import ROWS
from tests.support.training_data import complaint, load, write


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A Hub with the one data set glue/sst2; returns the list of what is asked of it."""
    features = Features(
        {
            "sentence": Value("string"),
            "label": ClassLabel(names=["neg", "pos"]),
            "tags": Sequence(ClassLabel(names=["u", "v"])),
        }
    )
    rows = {"sentence": ["one", "two", "three"], "label": [1, 0, 1], "tags": [[0, 1], [], [1]]}
    hidden = {**rows, "label": [-1, -1, -1]}
    splits = {name: Dataset.from_dict(rows, features=features) for name in ("train", "validation")}
    splits["test"] = Dataset.from_dict(hidden, features=features)
    asked: list[tuple[str, ...]] = []

    def load_dataset(*parts: str) -> DatasetDict:
        asked.append(parts)
        if parts == ("broken",):
            raise ConnectionError("Couldn't reach the Hub\nfor some reason")
        if parts not in (("glue", "sst2"), ("someone/data",)):
            raise DatasetNotFoundError("no such data set")
        return DatasetDict(splits)

    monkeypatch.setattr("service.train.data.reading.hub_reader.load_dataset", load_dataset)
    monkeypatch.setattr(hub_access, "find_obstacle", lambda: None)
    return asked


def test_a_data_set_of_the_hub(hub: list[tuple[str, ...]]) -> None:
    """glue/sst2 is configuration sst2 of glue; its validation split validates; classes keep their names and order."""
    data = load("glue/sst2")
    assert hub == [("glue", "sst2"), ("glue", "sst2")]
    assert data.scheme.names == ("neg", "pos")
    assert data.train.targets == [1, 0, 1]
    assert (data.train.name, data.validation.name) == ("glue/sst2:train", "glue/sst2:validation")
    assert not data.held_out


def test_an_owners_data_set(hub: list[tuple[str, ...]]) -> None:
    """owner/name is tried when no data set `owner` has a configuration `name`; lists of classes are several labels."""
    data = load("someone/data", label_column="tags")
    assert hub[:2] == [("someone", "data"), ("someone/data",)]
    assert (data.scheme.type, data.scheme.names) == ("multi_label", ("u", "v"))
    assert data.train.targets == [(0, 1), (), (1,)]


@pytest.mark.usefixtures("hub")
def test_faults_of_the_hub_are_explained() -> None:
    """No such data set, no such split, hidden labels, no network: each in one line."""
    assert complaint("nobody/knows") == "nobody/knows: no such file, and no such data set on the Hub"
    assert "no split 'dev'; it has train, validation, test" in complaint("glue/sst2", "glue/sst2:dev")
    assert "glue/sst2:test, row 1: label -1 is outside of the 2 classes" in complaint("glue/sst2", "glue/sst2:test")
    assert complaint("broken") == "data set broken: Couldn't reach the Hub"


def test_what_load_dataset_returns_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real load_dataset, with a folder instead of the Hub: its splits are found and read."""
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        write(tmp_path / "data" / f"{split}.jsonl", ROWS)

    def load_folder(*_parts: str) -> DatasetDict:
        return datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr("service.train.data.reading.hub_reader.load_dataset", load_folder)
    monkeypatch.setattr(hub_access, "find_obstacle", lambda: None)
    data = load("someone/data/small")
    assert (len(data.train), len(data.validation), data.scheme.names) == (20, 20, ("bad", "good"))
    assert data.train.name == "someone/data/small:train"


def test_validation_of_a_named_split(hub: list[tuple[str, ...]]) -> None:
    """With a split named for training, validation still is the data set's own split, not the same rows."""
    data = load("glue/sst2:train")
    assert (data.train.name, data.validation.name) == ("glue/sst2:train", "glue/sst2:validation")
    assert len(hub) == 2


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    """A mistyped file name is answered with the data files that are there."""
    write(tmp_path / "train.csv", "x")
    assert complaint(str(tmp_path / "trian.csv")).endswith("trian.csv: no such file; did you mean train.csv?")
    assert "no folder" in complaint(str(tmp_path / "nowhere" / "a.csv"))
    assert "a folder" in complaint(str(tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        *("trian.csv", "data/trian", "./train", "~/train", "/no/train", r"data\train.csv", "C:/train", "notes.md"),
        *(
            "train.ndjson.gz",
            "train.xlsx",
            "data/train.zip",
            "a//b",
            "a b",
            "a/b/c/d",
            "nul\0l",
            "\x1b[31mred",
            "x" * 300,
        ),
    ],
)
def test_what_looks_like_a_path_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[tuple[str, ...]], name: str
) -> None:
    """It is refused at once as a file that is not there; the Hub is never asked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    message = complaint(name)
    assert "no such file" in message or "not a possible file name" in message
    assert message.isprintable()
    assert hub == []


def test_a_folder_here_wins_over_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[tuple[str, ...]]
) -> None:
    """glue/sst2 is a file where there is a folder glue; with a split behind it, it is the data set again."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "glue").mkdir()
    write(tmp_path / "glue" / "sst2.csv", "text,label\na,x\n")
    assert complaint("glue/sst2") == (
        "glue/sst2: no such file; did you mean sst2.csv? (glue/sst2:train is the data set of the Hub)"
    )
    assert len(load("glue/sst2:train").train) == 3
    assert hub


def test_an_unreachable_hub_is_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[tuple[str, ...]]
) -> None:
    """One line says why it is not asked; what is in the cache is used."""
    monkeypatch.setattr(hub_access, "find_obstacle", lambda: "the Hub cannot be reached (no route)")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    told = "nobody/knows: no such file, and the Hub cannot be reached (no route), so no data set of this name"
    assert complaint("nobody/knows").startswith(told)
    assert hub == []
    for folder in ("nobody___knows", "glue", "broken"):
        (tmp_path / folder).mkdir()
    assert complaint("nobody/knows").startswith(told)
    assert complaint("broken").startswith("broken: no such file, and the Hub cannot be reached")
    assert len(load("glue/sst2").train) == 3
    assert not datasets.config.HF_HUB_OFFLINE


@pytest.mark.parametrize(("offline", "said"), [(True, "HF_HUB_OFFLINE is set"), (False, "cannot be reached (")])
def test_the_hub_is_asked_once(monkeypatch: pytest.MonkeyPatch, offline: bool, said: str) -> None:
    """Neither with HF_HUB_OFFLINE nor without a route is there a second try, whatever reads the data."""
    monkeypatch.setattr(hub_access.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(hub_access.constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens
    hub_access._find_obstacle.cache_clear()
    for _ in range(3):
        assert said in complaint("nobody/knows")
    assert hub_access._find_obstacle.cache_info().misses == 1
