"""A whole training on a tiny backbone: it learns, the file is right, it resumes, it publishes."""

import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import TrainerCallback

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.source import load_backbone
from adapters.method.heads import SingleLabelOutput, decode
from adapters.serving.inference import predict_logits
from service.client import Unauthorised
from service.registry import Registry
from service.train import pipeline
from service.train.errors import PublishError, TrainingError
from service.train.evaluation.calibration import fit_temperature, negative_log_likelihood
from service.train.fit import output_folder
from service.train.fit import trainer as trainer_module
from service.train.options import TrainOptions
from service.train.result import TrainResult
from tests.support.tiny import make_tiny_backbone

GOOD = ("good", "great", "lovely", "superb")
BAD = ("bad", "awful", "dull", "boring")
COLOURS = ("red", "green", "blue")
pytestmark = pytest.mark.usefixtures("one_thread")
FAST: dict[str, Any] = {
    "initialisation": "identity",
    "learning_rate": 2e-2,
    "epochs": 8,
    "batch_size": 16,
    "patience": 8,
    "max_length": 32,
    "pooling": "mean",
}
Row = dict[str, Any]


def sentiment(drawn: random.Random) -> Row:
    """One of two classes, decided by one word."""
    label = drawn.choice(["negative", "positive"])
    word = drawn.choice(GOOD if label == "positive" else BAD)
    return {
        "text": " ".join(
            ["the", drawn.choice(["film", "story", "plot"]), "is"] + ["very"] * drawn.randint(0, 4) + [word]
        ),
        "label": label,
    }


def colours(drawn: random.Random) -> Row:
    """Any of three labels."""
    chosen = [colour for colour in COLOURS if drawn.random() < 0.5]
    return {"text": " ".join(["the", *chosen, "house"]), "labels": chosen}


def warmth(drawn: random.Random) -> Row:
    """A number from 0 to 100, decided by the number of good words."""
    count = drawn.randint(0, 4)
    return {"sentence": " ".join(["it", *["great"] * count, *["dull"] * (4 - count)]), "score": 25.0 * count}


def same_animal(drawn: random.Random) -> Row:
    """Two texts, and whether the second is about a dog."""
    first, second = drawn.choice(["cat", "dog"]), drawn.choice(["cat", "dog"])
    label = "dog" if second == "dog" else "other"
    return {"sentence1": f"a {first} runs", "sentence2": f"the {second} sleeps", "label": label}


def write_rows(path: Path, make: Callable[[random.Random], Row], count: int, seed: int) -> str:
    """A JSON Lines file of `count` rows."""
    drawn = random.Random(seed)
    path.write_text("".join(json.dumps(make(drawn)) + "\n" for _ in range(count)))
    return str(path)


@pytest.fixture
def options(tmp_path: Path, tiny_folder: Path) -> TrainOptions:
    """A training of two seconds."""
    return TrainOptions.of(
        task="sentiment",
        train=write_rows(tmp_path / "train.jsonl", sentiment, 160, seed=0),
        validation=write_rows(tmp_path / "validation.jsonl", sentiment, 60, seed=1),
        output=tmp_path / "run",
        bottleneck=16,
        **FAST,
        device="cpu",
        backbone=str(tiny_folder),
    )


def train(options: TrainOptions) -> TrainResult:
    """Train without output."""
    result = pipeline.train(options, Console(quiet=True))
    assert result is not None
    return result


def read(result: TrainResult) -> Adapter:
    """The adapter that a training stored."""
    return checkpoint.parse(result.path.read_bytes())


def test_classes_are_learnt(options: TrainOptions) -> None:
    """A task of two classes is learnt, and the file says how, without a folder of this machine."""
    result = train(options)
    adapter = read(result)
    assert result.metrics["accuracy"] > 0.95
    assert result.metric == "accuracy"
    assert dict(adapter.metadata.metrics) == result.metrics
    assert json.loads((options.folder / "result.json").read_text())["metrics"] == result.metrics
    assert adapter.digest == result.digest
    assert adapter.metadata.task.labels == ("negative", "positive")
    assert adapter.metadata.bottleneck == 16
    record = adapter.metadata.training
    assert record["seed"] == 42
    assert record["recipe"] == "default"
    assert record["data"]["train"]["rows"] == 160  # type: ignore[call-overload, index]  # JSON
    assert set(record["versions"]) == {"adakron", "torch", "transformers", "safetensors"}  # type: ignore[arg-type]
    assert str(options.folder.parent) not in json.dumps(record)


def test_several_labels_are_learnt(options: TrainOptions, tmp_path: Path) -> None:
    """Lists of labels make a multi-label task, chosen by micro F1."""
    rows = write_rows(tmp_path / "colours.jsonl", colours, 200, seed=0)
    result = train(options.change(train=rows, validation=rows))
    assert result.metric == "micro_f1"
    assert result.metrics["micro_f1"] > 0.95
    assert read(result).metadata.task.labels == ("blue", "green", "red")


def test_numbers_are_learnt_in_their_own_scale(options: TrainOptions, tmp_path: Path) -> None:
    """A regression is trained on standardised targets; the stored head gives the real values."""
    rows = write_rows(tmp_path / "warmth.jsonl", warmth, 200, seed=0)
    result = train(options.change(train=rows, validation=rows, epochs=2))
    assert result.metrics["pearson"] > 0.95
    assert result.metrics["rmse"] < 15  # of 0 to 100
    logits = np.array([example.logits for example in read(result).metadata.examples])
    assert np.ptp(logits) > 40
    assert not {"ece", "nll"} & result.metrics.keys()


def test_pairs_are_learnt(options: TrainOptions, tmp_path: Path) -> None:
    """Two text columns make a task of pairs; its examples are pairs."""
    rows = write_rows(tmp_path / "pairs.jsonl", same_animal, 200, seed=0)
    result = train(options.change(train=rows, validation=None, epochs=2))
    task = read(result).metadata.task
    assert task.pair
    assert result.metrics["accuracy"] > 0.95
    assert all(isinstance(example.inputs, tuple) for example in read(result).metadata.examples)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_scores_and_examples_are_those_of_the_stored_weights(options: TrainOptions, dtype: Any) -> None:
    """Eight golden examples of both labels, with the logits of the file as rounded; so are the scores."""
    result = train(options.change(dtype=dtype, epochs=4))
    adapter = read(result)
    assert next(iter(adapter.tensors.values())).dtype == getattr(torch, dtype)
    examples = adapter.metadata.examples
    loaded = load_backbone(str(options.fit.backbone))
    assert loaded.identity == adapter.metadata.backbone
    logits = predict_logits(loaded, adapter, [example.text_input for example in examples])
    assert np.abs(logits - np.array([example.logits for example in examples])).max() < 1e-5
    assert len(examples) == 8
    assert set(logits.argmax(axis=1)) == {0, 1}
    rows = [json.loads(line) for line in Path(str(options.data.validation)).read_text().splitlines()]
    predicted = predict_logits(loaded, adapter, [row["text"] for row in rows]).argmax(axis=1)
    correct = [adapter.metadata.task.labels[i] == row["label"] for i, row in zip(predicted, rows, strict=True)]
    assert result.metrics["accuracy"] == pytest.approx(np.mean(correct))


def test_probabilities_are_calibrated(options: TrainOptions, tmp_path: Path) -> None:
    """With a quarter of the labels wrong, the file has the temperature that its own logits ask for."""

    def unsure(drawn: random.Random) -> Row:
        row = sentiment(drawn)
        return row if drawn.random() < 0.75 else row | {"label": drawn.choice(["negative", "positive"])}

    rows = write_rows(tmp_path / "unsure.jsonl", unsure, 120, seed=2)
    adapter = read(train(options.change(validation=rows)))
    written = [json.loads(line) for line in Path(rows).read_text().splitlines()]
    logits = predict_logits(load_backbone(str(options.fit.backbone)), adapter, [row["text"] for row in written])
    targets = np.array([row["label"] == "positive" for row in written], dtype=np.int64)
    metrics = adapter.metadata.metrics
    assert adapter.metadata.task.temperature == pytest.approx(fit_temperature(logits, targets), rel=1e-3)
    assert adapter.metadata.task.temperature > 1.1
    assert metrics["nll_uncalibrated"] == pytest.approx(negative_log_likelihood(logits, targets), rel=1e-3)
    assert metrics["nll"] < metrics["nll_uncalibrated"]
    assert metrics["ece"] < metrics["ece_uncalibrated"]


def test_the_same_seed_gives_the_same_weights(options: TrainOptions) -> None:
    """Bit for bit on a CPU; another seed gives others."""
    short = options.change(epochs=1)
    first, again, other = (
        read(train(short.change(output=options.folder / name, seed=seed)))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    for name, tensor in first.tensors.items():
        assert tensor.equal(again.tensors[name])
    assert not first.tensors["head.weight"].equal(other.tensors["head.weight"])


class Killed(Exception):
    """Stands for the end of the process."""


class KillAt(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Raises Killed in step `step`."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Trainer calls this after each step."""
        if state.global_step == self.step:
            raise Killed


def kill_at(step: int, options: TrainOptions, monkeypatch: pytest.MonkeyPatch, console: Console | None = None) -> None:
    """Run a training that dies in its step `step`."""

    def make_trainer(*arguments: Any, **others: Any) -> Any:
        trainer = trainer_module.make_trainer(*arguments, **others)
        trainer.add_callback(KillAt(step))
        return trainer

    with monkeypatch.context() as patch:
        patch.setattr("service.train.pipeline.make_trainer", make_trainer)
        with pytest.raises(Killed):
            pipeline.train(options, console or Console(quiet=True))


@pytest.mark.parametrize(("step", "evaluate_every"), [(15, None), (13, 4)])
def test_a_killed_training_resumes_exactly(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, step: int, evaluate_every: int | None
) -> None:
    """Killed between two checkpoints, at an epoch's end or within one, it ends with the same weights, bit for bit."""
    options = options.change(evaluate_every=evaluate_every, epochs=2)
    whole = read(train(options.change(output=options.folder / "whole")))
    killed = options.change(output=options.folder / "killed")
    kill_at(step, killed, monkeypatch)
    assert not (killed.folder / "adapter.safetensors").exists()
    resumed = read(train(killed.change(resume=True)))
    for name, tensor in whole.tensors.items():
        assert tensor.equal(resumed.tensors[name]), name
    assert whole.metadata.metrics == resumed.metadata.metrics
    # the curves are whole: those from before the kill come from the checkpoint
    curves = [
        re.findall(r'points="([^"]+)"', (options.folder / name / "report.html").read_text())
        for name in ("whole", "killed")
    ]
    assert len(curves[0]) > 5
    assert curves[0] == curves[1]


def test_a_killed_training_gives_the_cursor_back(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar hides it while it is shown, and goes however the training ends."""
    file = io.StringIO()
    kill_at(5, options, monkeypatch, Console(file=file, force_terminal=True, _environ={"TERM": "xterm"}))
    hidden, shown = (file.getvalue().rfind(f"\x1b[?25{letter}") for letter in "lh")
    assert shown > hidden > 0


def test_a_checkpoint_that_was_cut_is_passed_over(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed while it wrote a checkpoint resumes from the one before."""
    options = options.change(epochs=4)
    kill_at(25, options, monkeypatch)
    newest = max((options.folder / "checkpoints").glob("checkpoint-*"), key=lambda path: path.stat().st_mtime)
    (newest / "trainer_state.json").unlink()
    assert train(options.change(resume=True)).metrics["accuracy"] > 0.8


def test_an_unfinished_training_is_not_overwritten(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --resume the folder of a killed training is refused; with it, other options are refused by name."""
    kill_at(15, options, monkeypatch)
    with pytest.raises(TrainingError, match=r"unfinished training \(20..-..-..\): continue it with --resume"):
        train(options)
    with pytest.raises(TrainingError, match=r"--resume: recipe, seed differ"):
        train(options.change(resume=True, seed=7, learning_rate=0.5))
    train(options.change(overwrite=True, epochs=1))


def test_a_finished_training_may_be_repeated(options: TrainOptions) -> None:
    """--overwrite trains again in the folder, --resume publishes again, and --resume in an empty folder trains."""
    options = options.change(epochs=1)
    first = train(options.change(resume=True))
    assert train(options.change(resume=True)) == first
    other = train(options.change(seed=5, overwrite=True))
    assert other.digest != first.digest
    assert sorted(entry.name for entry in options.folder.iterdir()) == [
        "adapter.safetensors",
        "checkpoints",
        "logs",
        "report.html",
        "result.json",
        "training.json",
    ]


def test_a_report_is_left_beside_the_adapter(options: TrainOptions) -> None:
    """With the curves, the figures of the stored adapter and the wrong rows of the validation file."""
    result = train(options.change(epochs=1, learning_rate=1e-4))
    assert result.report == options.folder / "report.html"
    assert read(result).metadata.task.temperature != 1
    page = result.report.read_text()
    assert f"{result.metrics['accuracy']:.4f}" in page
    assert result.analysis
    assert result.analysis.num_mistakes == round(60 * (1 - result.metrics["accuracy"]))
    spec = read(result).metadata.task
    loaded = load_backbone(str(options.fit.backbone))
    rows = Path(str(options.data.validation)).read_text().splitlines()
    for mistake in result.analysis.mistakes:
        row = json.loads(rows[mistake.row])
        assert mistake.truth[0].name == row["label"]
        assert row["text"] in page
        # the probability that a server answers, temperature included
        (answer,) = decode(predict_logits(loaded, read(result), [row["text"]]), spec)
        assert isinstance(answer, SingleLabelOutput)
        assert mistake.predicted[0].probability == pytest.approx(answer.score, abs=1e-5)
        assert f"line {mistake.row + 1}<" in page


def test_mistakes_of_held_out_rows_have_their_place_in_the_whole_file(options: TrainOptions) -> None:
    """The line of the file, not of the part that was held out."""
    result = train(options.change(validation=None, epochs=1, learning_rate=1e-4))
    assert result.analysis
    rows = [json.loads(line) for line in Path(options.data.train).read_text().splitlines()]
    page = (options.folder / "report.html").read_text()
    found = re.findall(r"<bdi>([^<]*)</bdi></p>.*?>line (\d+)<", page, re.DOTALL)
    assert len(found) == len(result.analysis.mistakes) > 0
    for text, line in found:
        assert rows[int(line) - 1]["text"] == text


def test_a_report_that_cannot_be_made_costs_nothing_else(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter is stored, and one line says what is missing; an old report does not stay as if it were new."""
    options = options.change(overwrite=True, epochs=1)
    assert train(options).report

    def fail(*_: object) -> str:
        raise ValueError("no [page]")

    monkeypatch.setattr("service.train.pipeline.render_report", fail)
    console = Console(file=io.StringIO(), width=200)
    result = pipeline.train(options, console)
    assert result
    assert result.report is None
    assert read(result).digest == result.digest
    assert isinstance(console.file, io.StringIO)
    assert "report.html could not be written: ValueError('no [page]')" in console.file.getvalue()


def test_the_report_is_there_before_the_adapter(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter file tells that all is done."""
    written: list[str] = []
    write = output_folder.write_atomically

    def remember(path: Path, data: bytes) -> None:
        written.append(path.name)
        write(path, data)

    monkeypatch.setattr("service.train.pipeline.write_atomically", remember)
    train(options.change(epochs=1))
    assert written == ["report.html", "result.json", "adapter.safetensors"]


def test_checkpoints_hold_only_what_was_trained(options: TrainOptions) -> None:
    """A checkpoint has the adapter's tensors, not the backbone's."""
    adapter = read(train(options.change(epochs=1)))
    weights = load_file(next((options.folder / "checkpoints").glob("checkpoint-*/model.safetensors")))
    assert {name.removeprefix("inner.") for name in weights} == set(adapter.tensors)


def test_training_stops_when_it_no_longer_gets_better(options: TrainOptions) -> None:
    """Patience ends a training that has learnt all there is, and the best checkpoint is kept."""
    result = train(options.change(epochs=50, patience=2))
    assert result.epochs < 50
    assert result.metrics["accuracy"] > 0.8


def test_bf16_and_cls_pooling(options: TrainOptions) -> None:
    """Mixed precision trains on a CPU too; its logs are for TensorBoard."""
    result = train(options.change(mixed_precision="bf16", pooling="cls"))
    assert result.metrics["accuracy"] > 0.9
    assert read(result).metadata.task.pooling == "cls"
    assert list((options.folder / "logs").glob("events.out.tfevents.*"))


def test_the_papers_recipe(options: TrainOptions) -> None:
    """Published initialisation and BERT's own pooler; recorded in the file."""
    result = train(options.change(recipe="paper", **dict.fromkeys(FAST) | {"epochs": 1, "max_length": 32}))
    metadata = read(result).metadata
    assert metadata.task.pooling == "pooler"
    assert metadata.training["recipe"] == "paper"
    assert metadata.training["hyper_parameters"]["initialisation"] == "published"  # type: ignore[call-overload, index]


def test_dropout_of_the_options_is_used(options: TrainOptions) -> None:
    """`--dropout` replaces the recipe's: it changes the weights and is recorded; 1 and more is refused."""
    plain, dropped = (
        read(train(options.change(output=options.folder / str(share), epochs=1, dropout=share))) for share in (0.0, 0.4)
    )
    assert not torch.equal(plain.tensors["head.weight"], dropped.tensors["head.weight"])
    assert dropped.metadata.training["hyper_parameters"]["dropout"] == 0.4  # type: ignore[call-overload, index]
    with pytest.raises(TrainingError, match=r"--dropout 1\.0"):
        options.change(dropout=1.0)


def test_a_backbone_without_pooler_takes_the_mean(options: TrainOptions, tmp_path: Path) -> None:
    """By default; asking for the pooler of such a backbone is an error."""
    bare = str(make_tiny_backbone(tmp_path / "bare", pooler=False))
    result = train(options.change(backbone=bare, epochs=1))
    assert read(result).metadata.task.pooling == "mean"
    with pytest.raises(TrainingError, match="has no pooler; use mean or cls"):
        train(options.change(backbone=bare, overwrite=True, pooling="pooler"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "Not A Name"}, "task 'Not A Name'"),
        ({"metric": "pearson"}, "--metric pearson: a single_label task has accuracy, f1, matthews"),
        ({"max_length": 1000}, "--max-length 1000: the backbone takes 128 tokens"),
        ({"mixed_precision": "fp16"}, "fp16 needs CUDA"),
    ],
)
def test_what_cannot_be_done_is_reported_before_training(options: TrainOptions, changes: Any, message: str) -> None:
    """Options that do not fit data, backbone or machine."""
    with pytest.raises(TrainingError, match=message):
        train(options.change(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bottleneck": 47}, "--bottleneck 47: it must be a multiple of --q 4"),
        ({"learning_rate": 0.0}, "--learning-rate 0.0: it must be greater than 0"),
        ({"url": "http://x"}, "--url needs a key of the server"),
        ({"url": "http://x", "key": "k", "registry": "sqlite://"}, "not both"),
    ],
)
def test_options_are_checked_when_made(options: TrainOptions, changes: Any, message: str) -> None:
    """Options that are wrong for all data are refused."""
    with pytest.raises(TrainingError, match=message):
        options.change(**changes)


def test_an_output_folder_that_cannot_be_written(options: TrainOptions, tmp_path: Path) -> None:
    """The error comes before training."""
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written"):
        train(options.change(output=tmp_path / "file" / "run"))


def test_it_is_published_in_a_registry(options: TrainOptions, tmp_path: Path) -> None:
    """--registry writes the file as the next version, which is live by default."""
    options = options.change(epochs=1)
    url = f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    result = train(options.change(registry=url))
    registry = Registry.open(url)
    try:
        published = registry.snapshot().resolve("sentiment")
        assert published.digest == result.digest
        assert registry.read_adapter(result.digest) == result.path.read_bytes()
    finally:
        registry.close()
    assert result.publication is not None
    assert result.publication.version == published.version == 1


class FakeClient:
    """Stands in for service.client.AdaKronClient and records uploads."""

    uploads: list[tuple[str, str, int, bool]]
    answer: Unauthorised | None

    def __init__(self, url: str, key: str, **_: object) -> None:
        self.url = f"{url} with {key}"
        self.admin = self

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def upload(self, task: str, data: bytes, *, activate: bool, allow_incompatible: bool) -> Any:
        """Record the upload, or raise `answer`."""
        if self.answer:
            raise self.answer
        self.uploads.append((self.url, task, len(data), activate))
        return SimpleNamespace(version=3, live=activate, changes=None)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    """The class that publishing uses."""
    FakeClient.uploads, FakeClient.answer = [], None
    monkeypatch.setattr("service.train.publish.client.AdaKronClient", FakeClient)
    return FakeClient


def test_it_is_uploaded_to_a_server(options: TrainOptions, client: type[FakeClient]) -> None:
    """--url uploads the file with the key, and --no-activate is passed on."""
    target = {"url": "http://server", "key": "secret", "activate": False}
    result = train(options.change(**target, epochs=1))
    assert client.uploads == [("http://server with secret", "sentiment", result.path.stat().st_size, False)]
    assert result.publication is not None
    assert (result.publication.version, result.publication.activated) == (3, False)


def test_a_refused_upload_loses_nothing(options: TrainOptions, client: type[FakeClient]) -> None:
    """The error says that the file is there; --resume uploads it without training."""
    target = {"url": "http://server", "key": "secret"}
    options = options.change(**target, epochs=1)
    client.answer = Unauthorised("no key", 401)
    with pytest.raises(PublishError, match="is complete, but could not be published: 401: no key"):
        train(options)
    client.answer = None
    digest = checkpoint.parse((options.folder / "adapter.safetensors").read_bytes()).digest
    assert train(options.change(resume=True)).digest == digest
    assert len(client.uploads) == 1
