"""Runs trained side by side against the same runs trained one by one, by `adakron train`'s own loop."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from adapters.method.adakron import MAdaKron
from benchmarks.glue import worker
from benchmarks.glue.grid import SIDE_BY_SIDE, Run, stacks
from benchmarks.glue.loop import train_stack
from service.train.recipes import Method
from tests.support.trainings import sentiment, warmth, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")
ADAKRON = Run("rte", "adakron", seed=3, learning_rate=1e-2, bottleneck=8, epochs=2, batch_size=16)
KINDS = {
    "adakron": [ADAKRON],
    "unit, upper": [replace(ADAKRON, initialisation="unit", layers="upper", pooling="cls")],
    "weight decay": [replace(ADAKRON, weight_decay=0.5)],
    "partial": [replace(ADAKRON, method="madakron-partial", experts=3)],
    "full mixture": [replace(ADAKRON, method="madakron-full", experts=2)],
    "pfeiffer": [replace(ADAKRON, method="pfeiffer")],
    "head": [replace(ADAKRON, method="head")],
    "full": [replace(ADAKRON, method="full")],
    "full, pooler": [replace(ADAKRON, method="full", pooling="pooler")],
    "regression": [replace(ADAKRON, task="stsb")],
    "two poolings": [replace(ADAKRON, pooling="cls"), replace(ADAKRON, label_smoothing=0.1)],
    "two methods": [ADAKRON, replace(ADAKRON, method="pfeiffer"), replace(ADAKRON, q=2, pooling="cls")],
}
SHORT = ("partial", "regression", "two poolings", "two methods")  # the others with --long


@pytest.fixture
def setting(tmp_path: Path, tiny_folder: Path) -> worker.Setting:
    """Two small data sets on the tiny backbone."""
    for task, make in (("rte", sentiment), ("stsb", warmth)):
        (tmp_path / task).mkdir()
        write_rows(tmp_path / task / "train.jsonl", make, 40, seed=0)
        write_rows(tmp_path / task / "test.jsonl", make, 30, seed=1)
    return worker.Setting(str(tmp_path), str(tiny_folder), "cpu", bfloat16=False)


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mixture's experts take turns: what is drawn depends on who else draws from the global generator."""

    def next_expert(self: MAdaKron, experts: nn.ModuleList) -> nn.Module:
        self.calls = getattr(self, "calls", 0) + 1
        return experts[self.calls % len(experts)]

    monkeypatch.setattr(MAdaKron, "_draw", next_expert)


@pytest.mark.usefixtures("in_turn")
@pytest.mark.parametrize("name", KINDS)
def test_side_by_side_is_as_alone(
    name: str, setting: worker.Setting, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Every run of a stack ends with the weights and scores that it ends with alone, at two learning rates."""
    if name not in SHORT and not request.config.getoption("--long", default=False):
        pytest.skip("with --long (make test-long)")
    candidates = [candidate for kind in KINDS[name] for candidate in (kind, replace(kind, learning_rate=3e-3))]
    (runs,) = stacks(candidates, [], largest=8)
    codec, train, validation = worker.rows_of(runs[0][0].task, setting, 128)
    groups = worker.make_groups(runs, setting)
    outcomes = iter(train_stack(groups, train, validation, codec))
    for members, group in groups:
        for index, run in enumerate(members):
            outcome = next(outcomes)
            alone = worker.train_one(run, setting, train, validation, codec)
            assert outcome.num_trained == alone.num_trained
            assert outcome.scores == pytest.approx(alone.scores, abs=1e-6)
            assert outcome.best.keys() == alone.best.keys()
            last = group.state(index)
            assert last.keys() == alone.weights.keys()
            for key, tensor in alone.weights.items():
                # Adam divides gradients near zero by themselves: rounding moves a few weights by more than the others
                difference = (last[key] - tensor).abs()
                if key.endswith("qkv.bias"):  # a key's bias changes no attention: its gradient is rounding alone
                    difference = difference.unflatten(0, (3, -1))[[0, 2]]
                assert difference.mean() < 1e-5, key
                assert difference.max() < 1e-3, key


@pytest.mark.parametrize("method", [method for method in get_args(Method) if method not in SIDE_BY_SIDE])
def test_a_method_that_cannot_be_stacked_trains_alone(method: Method, setting: worker.Setting) -> None:
    """Its run is a stack of one, trained by `adakron train`'s loop, and leaves a line like any other."""
    run = replace(ADAKRON, method=method)
    ((group,),) = stacks([run], [], largest=8)
    (line,) = worker.train([group], setting)
    assert (line["method"], line["side_by_side"], len(line["scores"])) == (method, 1, run.epochs)
    assert line["parameters"] > 0


def test_bfloat16_learns_the_same(setting: worker.Setting) -> None:
    """Training in bfloat16 keeps weights in float32, and they follow those of float32 closely."""
    runs = [[ADAKRON, replace(ADAKRON, learning_rate=3e-3)]]
    codec, train, validation = worker.rows_of("rte", setting, 128)
    ends = []
    for bfloat16 in (False, True):
        groups = worker.make_groups(runs, replace(setting, bfloat16=bfloat16))
        outcomes = train_stack(groups, train, validation, codec)
        ends.append((groups[0][1].flat, [outcome.scores[-1] for outcome in outcomes]))
    assert ends[1][0].dtype == torch.float32
    assert ((ends[0][0] - ends[1][0]).abs().mean() / ends[0][0].abs().mean()) < 0.05
    assert ends[1][1] == pytest.approx(ends[0][1], abs=0.1)
