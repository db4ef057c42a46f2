"""The contenders: each learns from training rows and answers the test rows; the score is the share of right answers."""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from adapters import checkpoint
from adapters.backbone.source import load_backbone
from adapters.serving.inference import predict_logits
from benchmarks.few_examples.sets import Row
from benchmarks.glue.alone import train_alone
from benchmarks.glue.grid import Run
from service.train import pipeline
from service.train.data.load import load_data
from service.train.fit.batches import EncodedRows
from service.train.fit.probe import pool_rows, train_probe
from service.train.fit.targets import TargetCodec
from service.train.options import TrainOptions
from service.train.prepare import choose_pooling, make_config

MAX_LENGTH = 128  # tokens
FULL_RATE, FULL_DROPOUT, FULL_EPOCHS = 8e-5, 0.1, 10  # of full fine-tuning: service/train/recipes.py
SETFIT_SCRIPT = Path(__file__).with_name("setfit_once.py")


@dataclass(frozen=True)
class Setting:
    """The settings that all trainings of a call share."""

    backbone: str
    device: str
    setfit_python: str | None = None  # the Python of an environment with setfit


Contender = Callable[[Sequence[Row], Sequence[Row], int, Setting], float]


def tfidf(train: Sequence[Row], test: Sequence[Row], seed: int, setting: Setting) -> float:
    """Logistic regression on TF-IDF of words and pairs of words, with the defaults of scikit-learn."""
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    model.fit([row.text for row in train], [row.label for row in train])
    return _share([row.label for row in test], list(model.predict([row.text for row in test])))


def probe(train: Sequence[Row], test: Sequence[Row], seed: int, setting: Setting) -> float:
    """The probe of `adakron train`: logistic regression on the vectors of the frozen backbone."""
    loaded = load_backbone(setting.backbone, device=setting.device)
    labels = sorted({row.label for row in train})
    codec = TargetCodec("single_label", len(labels))
    pooling = choose_pooling(None, loaded)

    def encode(rows: Sequence[Row]) -> EncodedRows:
        encodings = loaded.encoder.encode([row.text for row in rows], max_length=MAX_LENGTH)
        # a class that was not drawn is answered wrongly, whatever its number
        classes = [labels.index(row.label) if row.label in labels else 0 for row in rows]
        return EncodedRows(encodings, codec.encode(classes))

    fitted = train_probe(loaded.backbone, encode(train), codec, pooling, seed)
    answers = fitted.logits(pool_rows(loaded.backbone, encode(test), pooling)).argmax(axis=1)
    return _share([row.label for row in test], [labels[int(answer)] for answer in answers])


def default(train: Sequence[Row], test: Sequence[Row], seed: int, setting: Setting) -> float:
    """`adakron train` with its defaults and without a validation file, answering as a server would."""
    with tempfile.TemporaryDirectory() as folder:
        result = pipeline.train(_options(train, Path(folder), seed, setting), Console(quiet=True))
        assert result is not None
        assert result.path is not None
        adapter = checkpoint.parse(result.path.read_bytes())
    loaded = load_backbone(setting.backbone, device=setting.device)
    logits = predict_logits(loaded, adapter, [row.text for row in test])
    labels = adapter.metadata.task.labels
    return _share([row.label for row in test], [labels[int(answer)] for answer in logits.argmax(axis=1)])


def full(train: Sequence[Row], test: Sequence[Row], seed: int, setting: Setting) -> float:
    """Full fine-tuning on all rows, for a fixed number of epochs; the last one counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = _options(train, folder, seed, setting).change(
            method="full",
            validation=_write(test, folder / "test.jsonl"),
            learning_rate=FULL_RATE,
            dropout=FULL_DROPOUT,
            epochs=FULL_EPOCHS,
            batch_size=min(32, max(4, len(train) // 10)),
        )
        data = load_data(options.data, seed=seed)
    loaded = load_backbone(setting.backbone, device=setting.device)
    config = make_config(options.fit, data, loaded)
    codec = TargetCodec("single_label", len(data.scheme.names))
    training, testing = (
        EncodedRows(loaded.encoder.encode_for(config.task, split.inputs), codec.encode(split.targets))
        for split in (data.train, data.validation)
    )
    run = Run("few", "full", seed, FULL_RATE, dropout=FULL_DROPOUT, epochs=FULL_EPOCHS)
    device = "cpu" if setting.device == "cpu" else "auto"
    outcome = train_alone(run, options.fit, config, loaded, training, testing, codec, bfloat16=False, device=device)
    return float(outcome.scores[-1])


def setfit(train: Sequence[Row], test: Sequence[Row], seed: int, setting: Setting) -> float:
    """SetFit (Tunstall et al., 2022) on the same backbone with its defaults, in an environment of its own."""
    if setting.setfit_python is None:
        raise ValueError("setfit needs --setfit-python, the Python of an environment with setfit")
    with tempfile.TemporaryDirectory() as name:
        files = [_write(rows, Path(name) / f"{part}.jsonl") for part, rows in (("train", train), ("test", test))]
        source = load_backbone(setting.backbone).source
        command = [setting.setfit_python, str(SETFIT_SCRIPT), *files, str(source.folder), str(seed)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    answers: list[str] = json.loads(done.stdout.splitlines()[-1])
    return _share([row.label for row in test], answers)


CONTENDERS: dict[str, Contender] = {
    "tfidf": tfidf,
    "probe": probe,
    "default": default,
    "full": full,
    "setfit": setfit,
}
DEFAULTS = ("tfidf", "probe", "default")


def measure(name: str, train: Sequence[Row], test: Sequence[Row], seed: int, setting: Setting) -> tuple[float, float]:
    """Return the score of a contender, and the wall time of training and answering, in seconds."""
    began = time.perf_counter()
    score = CONTENDERS[name](train, test, seed, setting)
    return score, time.perf_counter() - began


def _options(train: Sequence[Row], folder: Path, seed: int, setting: Setting) -> TrainOptions:
    return TrainOptions.of(
        task="few",
        train=_write(train, folder / "train.jsonl"),
        output=folder / "run",
        seed=seed,
        type="single_label",
        backbone=setting.backbone,
        device="cpu" if setting.device == "cpu" else "auto",
    )


def _write(rows: Sequence[Row], path: Path) -> str:
    path.write_text("".join(json.dumps({"text": row.text, "label": row.label}) + "\n" for row in rows))
    return str(path)


def _share(truth: Sequence[str], answers: Sequence[str]) -> float:
    return float(np.mean([right == answer for right, answer in zip(truth, answers, strict=True)]))
