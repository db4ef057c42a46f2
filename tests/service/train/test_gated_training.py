"""Training with --gate COLUMN: one file whose adapters differ by user."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.checkpoint import adapter_file
from adapters.gates import MAX_KEYS, GatedAdapter
from adapters.serving.inference import predict_logits
from adapters.serving.verification import verify
from service.registry import Registry
from service.train import pipeline
from service.train.check import examine
from service.train.errors import TrainingError
from service.train.options import TrainOptions
from service.train.result import TrainResult
from tests.support.training_data import complaint, load, write
from tests.support.trainings import FAST, Row, sentiment, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")
USERS = ("anna", "benno", "cleo", "dora")
CONTRARY = ("cleo", "dora")  # they mean the opposite
OTHER = {"negative": "positive", "positive": "negative"}


def opinion(drawn: random.Random) -> Row:
    """A row of `sentiment` by one of four users, two of whom label it the other way round."""
    row, user = sentiment(drawn), drawn.choice(USERS)
    return row | {"user": user, "label": OTHER[row["label"]] if user in CONTRARY else row["label"]}


def options(folder: Path, backbone: Path, **changes: Any) -> TrainOptions:
    return TrainOptions.of(
        **{
            "task": "opinion",
            "train": write_rows(folder / "train.jsonl", opinion, 320, seed=0),
            "validation": write_rows(folder / "validation.jsonl", opinion, 80, seed=1),
            "output": folder / "run",
            "gate": "user",
            "bottleneck": 16,
            "experts": 2,
            "device": "cpu",
            "backbone": str(backbone),
        }
        | FAST
        | {"learning_rate": 5e-3, "epochs": 14, "patience": 14, "initialisation": "unit"}
        | changes
    )


def train(options: TrainOptions) -> TrainResult:
    result = pipeline.train(options, Console(quiet=True))
    assert result is not None
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> TrainResult:
    """A training with gates by user."""
    return train(options(tmp_path_factory.mktemp("gated"), tiny_folder))


def stored(result: TrainResult) -> GatedAdapter:
    assert result.path is not None
    adapter = checkpoint.parse(result.path.read_bytes())
    assert isinstance(adapter, GatedAdapter)
    return adapter


def test_users_get_their_own_answers(trained: TrainResult, tiny: LoadedBackbone) -> None:
    """Users who disagree are both answered as they label; one adapter for all can only be right about half the time."""
    gated = stored(trained)
    assert trained.metrics["accuracy"] > 0.9
    assert trained.metrics["accuracy_mean_gate"] < 0.75
    texts = ["the film is very good", "the plot is boring"]
    for user in USERS:
        row = gated.gates.find(gated.gates.config.digest(user))
        assert row is not None
        best = predict_logits(tiny, gated.merge(row), texts).argmax(1)
        expected = ["negative", "positive"] if user in CONTRARY else ["positive", "negative"]
        assert [gated.metadata.task.labels[index] for index in best] == expected


def test_the_file_holds_what_was_measured(trained: TrainResult, tiny: LoadedBackbone) -> None:
    """The stored score is that of the merged adapters on the validation rows; golden examples are of the mean gate."""
    gated, folder = stored(trained), trained.path.parent.parent  # type: ignore[union-attr]
    rows = [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]
    right = 0
    for row in rows:
        key = gated.gates.find(gated.gates.config.digest(row["user"]))
        logits = predict_logits(tiny, gated.merge(key), [row["text"]])
        right += gated.metadata.task.labels[int(logits.argmax())] == row["label"]
    assert right / len(rows) == pytest.approx(gated.metadata.metrics["accuracy"])
    assert gated.metadata.examples
    verify(tiny, gated)
    assert len(gated.gates.digests) == 4
    assert np.allclose(gated.gates.table.mean(0), gated.gates.mean)
    record: Any = gated.metadata.training
    assert (record["method"], record["experts"]) == ("adakron", 2)


def test_the_same_training_gives_the_same_file(trained: TrainResult, tmp_path: Path, tiny_folder: Path) -> None:
    """Salt, digests and weights depend on the options and the data alone; no key is in the file."""
    again = train(options(tmp_path, tiny_folder))
    data = again.path.read_bytes()  # type: ignore[union-attr]
    assert data == trained.path.read_bytes()  # type: ignore[union-attr]
    assert not any(user.encode() in data for user in USERS)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_regressions_have_gates_too(dtype: str, tmp_path: Path, tiny_folder: Path, tiny: LoadedBackbone) -> None:
    """A regression with gates predicts real values, and its file passes the dry run."""

    def stars(drawn: random.Random) -> Row:
        row = sentiment(drawn)
        return {"text": row["text"], "stars": 4.5 if row["label"] == "positive" else 1.25, "lang": drawn.choice("ab")}

    rows = write_rows(tmp_path / "stars.jsonl", stars, 60, seed=0)
    changes = {"train": rows, "validation": None, "gate": "lang", "label_column": "stars", "type": "regression"}
    gated = stored(train(options(tmp_path, tiny_folder, dtype=dtype, epochs=2, **changes)))
    verify(tiny, gated)
    assert 0 < float(predict_logits(tiny, gated.merge(0), ["the film is good"])[0, 0]) < 6


def test_a_gated_file_is_published(trained: TrainResult, tmp_path: Path, tiny_folder: Path) -> None:
    """--resume publishes the finished file into a registry without training."""
    url = f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    folder = trained.path.parent  # type: ignore[union-attr]
    result = train(options(folder.parent, tiny_folder, resume=True, registry=url))
    assert result.publication is not None
    assert result.publication.version == 1
    registry = Registry.open(url)
    metadata = registry.metadata("opinion", 1)
    registry.close()
    assert metadata.gates is not None
    assert metadata.gates.field == "user"


def test_a_check_takes_gates(tmp_path: Path, tiny_folder: Path) -> None:
    """`--check` estimates a gated training."""
    assert examine(options(tmp_path, tiny_folder)).estimate.seconds > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "pfeiffer"}, "--gate mixes experts of AdaKron, not of --method pfeiffer"),
        ({"experts": 1}, "--experts 1: a gate mixes 2 to 64 experts"),
        ({"experts": 65}, "--experts 65"),
        ({"gate": "user id"}, "--gate 'user id': requests name the column"),
        ({"gate": "owner"}, "no column 'owner' (--gate)"),
    ],
)
def test_other_options_are_refused(changes: dict[str, Any], message: str, tmp_path: Path, tiny_folder: Path) -> None:
    """Gates need a column that requests can name, AdaKron, and two experts or more; nothing is written."""
    with pytest.raises(TrainingError) as caught:
        train(options(tmp_path, tiny_folder, **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_gates_that_do_not_fit_a_file_are_refused(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the table of gates is over the size of a file, the training ends before its first step, with the remedy."""
    monkeypatch.setattr(adapter_file, "MAX_FILE_BYTES", 5_000)
    with pytest.raises(TrainingError, match=r"the gates do not fit: .*; take fewer --experts"):
        train(options(tmp_path, tiny_folder))
    assert not (tmp_path / "run").exists()


def rows(*keys: Any) -> list[dict[str, Any]]:
    return [
        {"text": f"text {n} {at}", "label": "ab"[n % 2], "user": key} for n in range(2) for at, key in enumerate(keys)
    ]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("u1",), "every user is 'u1', so there is nothing to choose gates by"),
        (("u1", ""), "a.jsonl, line 2: user is empty"),
        (("u1", None), "a.jsonl, line 2: user is empty"),
        (("u1", "k" * 10_240), "a.jsonl, line 2: user has 10,240 bytes, and a key at most 256"),
        (("u1", "ü" * 129), "line 2: user has 258 bytes"),
        (("u1", 1.5), "line 2: user is '1.5', neither a text nor a whole number"),
        (("u1", True), "line 2: user is 'True', neither"),
        (("u1", ["a"]), "line 2: user is \"['a']\", neither"),
        (("u1", "\ud800"), "line 2: user has half a Unicode character"),
        (tuple(f"u{n}" for n in range(MAX_KEYS + 1)), "column user has 100,001 different values"),
    ],
    ids=["one", "empty", "null", "10 KB", "258 bytes", "fraction", "bool", "list", "surrogate", "100,001"],
)
def test_keys_are_checked(keys: tuple[Any, ...], message: str, tmp_path: Path) -> None:
    """A column that cannot choose gates is refused with its place."""
    assert message in complaint(write(tmp_path / "a.jsonl", rows(*keys)), gate="user")


def test_whole_numbers_are_keys(tmp_path: Path) -> None:
    """A number in JSON is the same key as its digits in CSV."""
    train, validation = (
        write(tmp_path / "a.jsonl", rows(17, 18)),
        write(tmp_path / "b.csv", "text,label,user\nx,a,17\n"),
    )
    data = load(train, validation, gate="user")
    assert list(data.train.keys) == ["17", "18", "17", "18"]
    assert list(data.validation.keys) == ["17"]


def test_users_may_disagree_about_a_text(tmp_path: Path) -> None:
    """The same text of two users is neither a repeated row nor a contradiction, and both may be held out."""
    content = [
        {"text": f"t{n}", "label": "ab"[(n + user) % 2], "user": f"u{user}"} for n in range(40) for user in (0, 1)
    ]
    data = load(write(tmp_path / "a.jsonl", content), gate="user")
    assert not data.warnings
    assert len(data.validation) == 8
    assert len(data.train.keys) == len(data.train) == 72


def test_the_validation_data_needs_the_column(tmp_path: Path) -> None:
    """A validation file without the column of the gate is refused."""
    validation = write(tmp_path / "b.csv", "text,label\nx,a\n")
    assert "no column 'user'" in complaint(write(tmp_path / "a.jsonl", rows("u1", "u2")), validation, gate="user")


@pytest.mark.parametrize("column", ["label", "text"])
def test_the_gate_is_neither_input_nor_label(column: str, tmp_path: Path) -> None:
    """Gates chosen by the label would give it away: accuracy 1 that no request can have."""
    assert f"--gate {column}: the column is an input or the label" in complaint(
        write(tmp_path / "a.jsonl", rows("u1", "u2")), gate=column
    )
