"""Training several tasks together: sampling, patience by task, and the best checkpoint of each."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from adapters.backbone.source import LoadedBackbone
from adapters.method.gated import GatedModel, share
from adapters.serving.inference import forward_encodings
from service.train.data.load import load_data
from service.train.evaluation.metrics import compute_metrics
from service.train.fit import joint
from service.train.fit.joint import JointTask, fit_together, sampling_chances
from service.train.options import TrainOptions
from service.train.prepare import assemble, encode
from tests.support.trainings import FAST, sentiment, warmth, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def test_chances_are_those_of_the_formula() -> None:
    """n^(1/T): proportional for T = 1, the square root for T = 2, nearly even for a large T."""
    assert sampling_chances([100, 300], 1).tolist() == pytest.approx([0.25, 0.75])
    assert sampling_chances([100, 400], 2).tolist() == pytest.approx([1 / 3, 2 / 3])
    assert sampling_chances([10, 1000], 1000).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert sampling_chances([1, 10, 100_000], 3).sum() == pytest.approx(1)


@pytest.fixture
def tasks(tmp_path: Path, tiny_folder: Path) -> list[JointTask]:
    """A classification and a regression on one backbone, with two experts."""
    return make_tasks(tmp_path, tiny_folder, 2)


def make_tasks(tmp_path: Path, tiny_folder: Path, experts: int) -> list[JointTask]:
    made: list[JointTask] = []
    loaded: LoadedBackbone | None = None
    for name, kind in (("mood", sentiment), ("warmth", warmth)):
        options = TrainOptions.of(
            task=name,
            train=write_rows(tmp_path / f"{name}.jsonl", kind, 120, seed=0),
            validation=write_rows(tmp_path / f"{name}-dev.jsonl", kind, 40, seed=1),
            output=tmp_path / name,
            bottleneck=16,
            device="cpu",
            backbone=str(tiny_folder),
            type="regression" if kind is warmth else "auto",
            **FAST | {"learning_rate": 1e-2, "epochs": 6, "initialisation": "unit"},
        )
        data = load_data(options.data, seed=0)
        setup = assemble(options, data, "cpu", loaded)
        loaded = setup.loaded
        loaded.backbone.set_dropout(0.0)
        model = GatedModel(loaded.backbone, setup.config, experts, 2)
        rows = [encode(split, setup) for split in (data.train, data.validation)]
        metric = "pearson" if kind is warmth else "accuracy"
        made.append(JointTask(name, model, setup.codec, *rows, metric, options.fit))  # type: ignore[arg-type]
    share([task.model for task in made])
    made[0].model.initialise("unit")
    return made


def test_tasks_learn_together_and_keep_their_best(tasks: list[JointTask]) -> None:
    """Both tasks learn; each outcome has the score of its best evaluation, merged to a plain adapter."""
    console = Console(record=True, file=io.StringIO(), width=200)
    longer = [replace(task, fit=task.fit.change(epochs=16, patience=16)) for task in tasks]
    outcomes = fit_together(longer, temperature=2, console=console)
    for task, outcome in zip(tasks, outcomes, strict=True):
        logits = forward_encodings(outcome.model, task.validation.encodings)
        targets = np.stack(task.validation.targets)
        score = compute_metrics(task.codec.restore(logits), task.codec.restore(targets), task.codec.type)[task.metric]
        evaluations = [entry for entry in outcome.log_history if f"eval_{task.metric}" in entry]
        assert score == pytest.approx(max(entry[f"eval_{task.metric}"] for entry in evaluations))
        assert score > 0.8
        assert outcome.best_step in {entry["step"] for entry in evaluations}
        assert {name for name, _ in outcome.model.named_parameters()} == set(task.model.config.tensor_shapes())
    said = console.export_text()
    assert "mood: loss" in said
    assert "warmth: loss" in said


def test_a_task_stops_alone(tasks: list[JointTask], monkeypatch: pytest.MonkeyPatch) -> None:
    """A task whose patience is over is drawn and scored no more, while the other goes on; its best one counts."""
    falling = iter((0.9, 0.8, 0.7))

    def score(logits: np.ndarray, targets: np.ndarray, kind: str) -> dict[str, float]:
        return {"pearson": next(falling)} if kind == "regression" else compute_metrics(logits, targets, "single_label")

    monkeypatch.setattr(joint, "compute_metrics", score)
    patient, hasty = (
        replace(task, fit=task.fit.change(patience=count)) for task, count in zip(tasks, (6, 1), strict=True)
    )
    first, second = fit_together([patient, hasty], temperature=1, console=Console(quiet=True))
    assert (first.epochs, second.epochs) == (6, 2)
    evaluations = [entry for entry in second.log_history if "eval_pearson" in entry]
    assert [entry["epoch"] for entry in evaluations] == [1, 2]
    assert second.best_step == evaluations[0]["step"]


def test_the_same_seed_gives_the_same_weights(tasks: list[JointTask]) -> None:
    """A second training from the same start ends with the same merged adapters."""
    start = {name: value.clone() for name, value in tasks[0].model.state_dict().items()}
    heads = [{name: value.clone() for name, value in task.model.head.state_dict().items()} for task in tasks]
    ends = []
    for _ in range(2):
        tasks[0].model.load_state_dict(start)
        for task, head in zip(tasks, heads, strict=True):
            task.model.head.load_state_dict(head)
        ends.append(fit_together(tasks, temperature=2, console=Console(quiet=True)))
    for one, other in zip(*ends, strict=True):
        for name, value in one.model.state_dict().items():
            assert value.equal(other.model.state_dict()[name])


@pytest.mark.parametrize("experts", [1, 3])
def test_tasks_differ_by_gate_and_head_only(experts: int, tmp_path: Path, tiny_folder: Path) -> None:
    """After one epoch both have one up-projection; their down-projections are equal if there is only one expert."""
    tasks = [replace(task, fit=task.fit.change(epochs=1)) for task in make_tasks(tmp_path, tiny_folder, experts)]
    outcomes = fit_together(tasks, temperature=2, console=Console(quiet=True))
    one, other = (outcome.model.state_dict() for outcome in outcomes)
    shared = {name: value.equal(other[name]) for name, value in one.items() if not name.startswith("head")}
    assert all(same for name, same in shared.items() if ".up." in name)
    assert all(same == (experts == 1) for name, same in shared.items() if ".down_" in name)
