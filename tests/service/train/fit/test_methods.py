"""The methods of training: what learns, what is stored, and what can be served."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from adapters import checkpoint
from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.serving.inference import forward_encodings, to_model
from service.train import pipeline
from service.train.data.load import TaskData, load_data
from service.train.errors import TrainingError
from service.train.fit.methods import num_trained
from service.train.options import DataOptions, TrainOptions
from service.train.prepare import choose_batch_size, choose_layers, make_config, make_model
from service.train.recipes import RECIPES, SERVABLE, WITHOUT_BOTTLENECK, Method
from service.train.result import TrainResult
from tests.support.trainings import FAST, sentiment, warmth, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS: tuple[Method, ...] = get_args(Method)
BASELINES = [method for method in METHODS if method not in SERVABLE]
H, LAYERS, R = 32, 2, 8  # of the tiny backbone, and of the adapters here


@pytest.fixture
def options(tmp_path: Path, tiny_folder: Path) -> TrainOptions:
    """A training of a second."""
    return TrainOptions.of(
        task="sentiment",
        train=write_rows(tmp_path / "train.jsonl", sentiment, 160, seed=0),
        validation=write_rows(tmp_path / "validation.jsonl", sentiment, 60, seed=1),
        output=tmp_path / "run",
        bottleneck=R,
        experts=3,
        backbone=str(tiny_folder),
        **FAST,
        device="cpu",
    )


def quiet(options: TrainOptions) -> TrainResult:
    """Train without a word."""
    result = pipeline.train(options, Console(quiet=True))
    assert result is not None
    return result


def load(options: DataOptions) -> TaskData:
    """The data of a training."""
    return load_data(options, seed=42)


def model_of(options: TrainOptions) -> tuple[LoadedBackbone, torch.nn.Module]:
    """The model at its start."""
    loaded = load_backbone(options.fit.backbone or "")
    torch.manual_seed(0)
    return loaded, make_model(options.fit, make_config(options.fit, load(options.data), loaded), loaded)


@pytest.mark.parametrize("method", METHODS)
def test_what_learns(method: Method, options: TrainOptions) -> None:
    """The number of parameters is that of the formulas, and only those get a gradient; the others stay."""
    loaded, model = model_of(options.change(method=method))
    p, q = R // 4, 4
    down_a, down_b, up = p * (H + 1), q * (H + 1), H * R + H
    encoder = sum(parameter.numel() for parameter in loaded.backbone.parameters())
    pooler = H * H + H
    biases = [bias for name, bias in loaded.backbone.named_parameters() if name.endswith(".bias")]
    plain, gate = R * (H + 1) + up, H + 1
    expected = {
        "adakron": LAYERS * (down_a + down_b + up),
        "madakron-partial": LAYERS * (down_a + 3 * down_b + up),
        "madakron-full": LAYERS * (3 * down_a + 3 * down_b + up),
        "pfeiffer": LAYERS * plain,
        "houlsby": LAYERS * 2 * plain,
        "adamix": LAYERS * 3 * plain,
        "lora": LAYERS * 2 * 2 * 8 * H,
        "prefix-tuning": LAYERS * 2 * 10 * H,
        "unipelt-ap": LAYERS * (plain + 2 * 10 * H + 2 * gate),
        "unipelt-apl": LAYERS * (plain + 2 * 10 * H + 2 * 2 * 8 * H + 4 * gate),
        "bitfit": sum(bias.numel() for bias in biases) - H,
        "full": encoder - pooler,
        "head": 0,
    }
    assert num_trained(model) == expected[method]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in learning) == expected[method] + 2 * (H + 1)


@pytest.mark.parametrize("method", ["madakron-partial", "madakron-full"])
def test_a_mixture_is_served_as_what_it_computes(method: Method, options: TrainOptions) -> None:
    """The file of a mixture is a plain adapter that gives the logits of the averaged experts, to 1e-5."""
    options = options.change(method=method)
    assert quiet(options).metrics["accuracy"] > 0.8
    adapter = checkpoint.parse((options.folder / "adapter.safetensors").read_bytes())
    assert adapter.metadata.training["method"] == method
    assert adapter.metadata.training["experts"] == 3
    best = json.loads(max(options.folder.glob("checkpoints/*/trainer_state.json"), key=_step).read_text())
    stored = load_file(Path(best["best_model_checkpoint"]) / "model.safetensors")
    loaded, mixture = model_of(options)
    mixture.load_state_dict({name.removeprefix("inner."): tensor for name, tensor in stored.items()})
    data = load(options.data)
    encodings = loaded.encoder.encode(data.validation.inputs, max_length=32)
    averaged = forward_encodings(mixture.eval(), encodings)  # type: ignore[arg-type]
    merged = forward_encodings(to_model(loaded, adapter), encodings)
    np.testing.assert_allclose(merged, averaged, rtol=1e-5, atol=1e-5)


def _step(path: Path) -> int:
    return int(path.parent.name.removeprefix("checkpoint-"))


@pytest.mark.parametrize("method", BASELINES)
def test_a_baseline_leaves_scores_and_no_adapter(method: Method, options: TrainOptions) -> None:
    """result.json and the report are there, no adapter file; --resume of it trains nothing."""
    rates = {"full": 3e-3, "head": 5e-2}
    options = options.change(method=method, learning_rate=rates.get(method, 2e-2))
    result = quiet(options)
    assert (result.path, result.digest, result.publication) == (None, None, None)
    assert sorted(path.name for path in options.folder.iterdir() if path.is_file()) == [
        "report.html",
        "result.json",
        "training.json",
    ]
    numbers = json.loads((options.folder / "result.json").read_text())
    assert numbers["method"] == method
    assert numbers["metrics"] == result.metrics
    floors = {"head": 0.6, "adamix": 0.8, "bitfit": 0.7, "prefix-tuning": 0.8}  # bitfit differs most between processors
    assert result.metrics["accuracy"] > floors.get(method, 0.9)
    page = (options.folder / "report.html").read_text()
    assert f"{numbers['num_parameters']:,}" in page
    assert ("bottleneck" in page) == (method not in WITHOUT_BOTTLENECK)
    before = (options.folder / "result.json").stat().st_mtime_ns
    assert quiet(options.change(resume=True)) == result
    assert (options.folder / "result.json").stat().st_mtime_ns == before


def test_a_regression_baseline_is_scored_in_real_values(options: TrainOptions, tmp_path: Path) -> None:
    """Full fine-tuning learns standardised numbers, and its error is that of the real ones, 0 to 100."""
    result = quiet(
        options.change(
            method="full",
            train=write_rows(tmp_path / "warm.jsonl", warmth, 160, seed=0),
            validation=write_rows(tmp_path / "warm2.jsonl", warmth, 60, seed=1),
            learning_rate=3e-3,
        )
    )
    assert result.metrics["pearson"] > 0.9
    assert 1 < result.metrics["rmse"] < 25


@pytest.mark.parametrize("method", BASELINES)
@pytest.mark.parametrize("target", [{"url": "http://127.0.0.1:1", "key": "k"}, {"registry": "sqlite://"}])
def test_a_baseline_cannot_be_published(method: Method, target: dict[str, str], options: TrainOptions) -> None:
    """The options are refused before anything is trained."""
    with pytest.raises(TrainingError, match=f"--method {method} is for comparison"):
        options.change(method=method, **target)


def test_layers(options: TrainOptions) -> None:
    """Adapters sit where --layers says, and nowhere else."""
    assert choose_layers("all", 6) == (0, 1, 2, 3, 4, 5)
    assert choose_layers("upper", 6) == choose_layers("5,3,4,3", 6) == (3, 4, 5)
    assert choose_layers("upper", 5) == (2, 3, 4)
    for wrong, message in (
        ("6", "layers 0 to 5"),
        ("-1", "layers 0 to 5"),
        ("lower", "all, upper"),
        ("", "all, upper"),
    ):
        with pytest.raises(TrainingError, match=message):
            choose_layers(wrong, 6)
    quiet(options.change(layers="upper", epochs=1))
    adapter = checkpoint.parse((options.folder / "adapter.safetensors").read_bytes())
    assert adapter.metadata.layers == (1,)
    assert {name.split(".")[1] for name in adapter.tensors if name.startswith("layers")} == {"1"}


def test_without_dropout_training_computes_what_serving_does(options: TrainOptions) -> None:
    """With --dropout 0 a forward in training mode is that in evaluation, whatever the BERT's config says."""
    loaded, model = model_of(options)
    encodings = loaded.encoder.encode(["the film is good", "a dull story"], max_length=32)
    ids = torch.from_numpy(np.concatenate([encoding.token_ids for encoding in encodings]))
    packing = Packing.of([len(encoding) for encoding in encodings])
    outputs = [model.train(mode)(ids, torch.zeros_like(ids), packing) for mode in (True, False)]
    assert torch.equal(outputs[0], outputs[1])
    _, dropping = model_of(options.change(dropout=0.1))
    assert not torch.equal(dropping.train()(ids, torch.zeros_like(ids), packing), outputs[1])


def test_each_method_has_a_recipe(options: TrainOptions) -> None:
    """Full fine-tuning at an adapter's learning rate would learn nothing; what the caller says comes first."""
    plain = options.change(learning_rate=None)
    assert plain.fit.hyper_parameters.learning_rate == RECIPES["default"].learning_rate
    assert plain.change(method="full").fit.hyper_parameters.learning_rate < 3e-4
    assert options.change(method="full").fit.hyper_parameters.learning_rate == FAST["learning_rate"]


def test_few_rows_make_small_batches(options: TrainOptions) -> None:
    """An epoch has ten steps if the rows suffice; an explicit batch size and the paper's recipe stay as they are."""
    plain = options.fit.change(batch_size=None)
    assert [choose_batch_size(plain, rows) for rows in (12, 70, 160, 10_000)] == [4, 7, 16, 32]
    assert choose_batch_size(options.fit, 12) == FAST["batch_size"]
    assert choose_batch_size(plain.change(recipe="paper"), 12) == 64


def test_the_paper_is_as_published() -> None:
    """`--recipe paper` is Braga et al. 2024, section 4, in every number."""
    paper = RECIPES["paper"]
    assert (paper.initialisation, paper.pooling, paper.label_smoothing) == ("published", "pooler", 0.0)
    assert (paper.learning_rate, paper.weight_decay, paper.warmup) == (1e-3, 0.1, 0.06)
    assert (paper.batch_size, paper.max_length, paper.epochs) == (64, 128, 20)


def test_the_same_training_gives_the_same_file(options: TrainOptions) -> None:
    """Byte for byte, on a CPU: a repeated training is the version that is there already."""
    first, again = (quiet(options.change(output=options.folder / name)) for name in ("first", "again"))
    assert first.digest == again.digest
