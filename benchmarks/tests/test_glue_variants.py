"""Variants of AdaKron's training: each computes and learns what it says, and merges to a plain adapter."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone
from adapters.config import AdapterConfig, TaskSpec
from adapters.method.adakron import AdaKron
from adapters.method.model import AdapterModel
from benchmarks.glue import variants as variants_module
from benchmarks.glue import worker
from benchmarks.glue.grid import VARIED, Run, stacks
from benchmarks.glue.parameter_groups import parameter_groups
from benchmarks.glue.variants import VARIANTS, Variant, VariantAdaKron, VariantModel
from service.train.fit.methods.adamix import consistency
from tests.support.trainings import sentiment, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")
H, P, Q = 16, 4, 2
RUN = Run("rte", "adakron", seed=3, learning_rate=1e-2, bottleneck=8, initialisation="unit", epochs=2, batch_size=16)


@pytest.fixture
def setting(tmp_path: Path, tiny_folder: Path) -> worker.Setting:
    """A small data set on the tiny backbone."""
    (tmp_path / "rte").mkdir()
    write_rows(tmp_path / "rte" / "train.jsonl", sentiment, 40, seed=0)
    write_rows(tmp_path / "rte" / "test.jsonl", sentiment, 30, seed=1)
    return worker.Setting(str(tmp_path), str(tiny_folder), "cpu", bfloat16=False)


@pytest.fixture
def config(tiny: LoadedBackbone) -> AdapterConfig:
    """A task of two classes on the tiny backbone."""
    task = TaskSpec(type="single_label", labels=("a", "b"), pair=False, pooling="mean", max_length=16)
    return AdapterConfig(backbone=tiny.identity, p=P, q=Q, layers=(0, 1), task=task)


def drawn(variant: Variant) -> VariantAdaKron:
    """An adapter with random weights."""
    torch.manual_seed(0)
    adapter = VariantAdaKron(H, P, Q, variant)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, mean=0.3, std=0.5)
    return adapter


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_merges_to_what_it_computes(name: str) -> None:
    """Scale, gate and running scale are in the weights of the plain adapter; dropout is off in evaluation."""
    adapter, h = drawn(VARIANTS[name]), torch.randn(7, H)
    for _ in range(3):
        adapter.train()(h)
    merged = adapter.eval().merge()
    assert type(merged) is AdaKron
    torch.testing.assert_close(merged(h), adapter(h), atol=1e-5, rtol=1e-5)


def test_without_changes_it_is_adakron() -> None:
    """The default variant draws and computes as AdaKron does, in training, too."""
    torch.manual_seed(0)
    plain = AdaKron(H, P, Q)
    plain.initialise("unit")
    torch.manual_seed(0)
    variant = VariantAdaKron(H, P, Q, Variant())
    variant.initialise("unit")
    variant.load_state_dict(plain.state_dict(), strict=False)
    torch.nn.init.normal_(plain.up.weight)
    variant.up.weight.data.copy_(plain.up.weight)
    h = torch.randn(5, H)
    assert torch.equal(plain(h), variant.train()(h))


def test_dropout_drops_units_and_keeps_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit of a or b is zero or 1 / (1 - share) of itself; the mean over many masks of z is that of evaluation."""
    adapter, h = drawn(Variant(dropout_projections=0.25)).train(), torch.randn(50, H)
    seen: list[Tensor] = []

    def kronecker(b: Tensor, a: Tensor) -> Tensor:
        seen.extend((b.detach(), a.detach()))
        return (b.unsqueeze(-1) * a.unsqueeze(-2)).flatten(-2)

    monkeypatch.setattr(variants_module, "kronecker", kronecker)
    adapter(h)
    for dropped, linear in zip(seen, (adapter.down_b, adapter.down_a), strict=True):
        whole = linear(h).detach()
        kept = dropped != 0
        torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)
        assert 0.6 < kept.float().mean() < 0.9
    adapter = drawn(Variant(dropout_z=0.5))
    with torch.no_grad():
        expected = adapter.eval()(h)
        mean = sum(adapter.train()(h) for _ in range(2000)) / 2000
    assert (mean - expected).abs().mean() < 0.1 * (expected - h).abs().mean()


def test_the_normalised_product_has_unit_scale() -> None:
    """After a batch z has a root mean square of 1; the running value follows later batches slowly."""
    adapter, h = drawn(Variant(normalise=True)).train(), torch.randn(40, H)
    adapter(h)
    z = variants_module.kronecker(adapter.down_b(h), adapter.down_a(h))
    first = z.square().mean().detach()
    torch.testing.assert_close(adapter.square, first)
    adapter(2 * h)
    assert first < adapter.square < 1.5 * first
    adapter.initialise("unit")
    assert adapter.square == 0


def test_a_consistency_adds_the_divergence_of_two_passes(tiny: LoadedBackbone, config: AdapterConfig) -> None:
    """The gradients are those of the loss of the first pass plus the weighted divergence, written out."""
    torch.manual_seed(0)
    model = VariantModel(tiny.backbone, config, Variant(dropout_z=0.3, consistency=2.0))
    model.initialise("published")
    for parameter in model.layers.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.train()
    token_ids = torch.randint(5, 60, (12,))
    batch = token_ids, torch.zeros_like(token_ids), Packing.of([5, 7])
    labels = torch.tensor([0, 1])
    torch.manual_seed(7)
    F.cross_entropy(model(*batch), labels).backward()  # type: ignore[no-untyped-call]
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    torch.manual_seed(7)
    first, second = (AdapterModel.forward(model, *batch) for _ in range(2))
    loss = F.cross_entropy(first, labels) + 2.0 * consistency(first, second, "single_label")
    loss.backward()  # type: ignore[no-untyped-call]
    assert found
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-6, rtol=1e-4)
    model.eval()
    assert torch.equal(model(*batch), AdapterModel.forward(model, *batch))


@pytest.mark.parametrize("start", ["orthogonal", "spectral"])
def test_rows_of_a_start_are_orthogonal(start: Any, tiny: LoadedBackbone, config: AdapterConfig) -> None:
    """The rows of W_a and W_b together; spectral ones are the directions in which the layer writes most."""
    model = VariantModel(tiny.backbone, config, Variant(start=start))
    model.initialise("unit")
    for key, adapter in model.layers.items():
        rows = torch.cat([adapter.down_a.weight, adapter.down_b.weight]).detach()  # type: ignore[list-item, union-attr]
        torch.testing.assert_close(3 * rows @ rows.T, torch.eye(P + Q), atol=1e-5, rtol=1e-5)
        assert not adapter.up.weight.any()  # type: ignore[union-attr, operator]
        if start == "spectral":
            weight = tiny.backbone.layers[int(key)].ff_out.weight  # type: ignore[union-attr]
            largest = torch.linalg.svdvals(weight)[: P + Q]  # type: ignore[arg-type]
            lengths = (3**0.5 * rows @ weight).norm(dim=1)  # type: ignore[operator]
            torch.testing.assert_close(lengths, largest, atol=1e-4, rtol=1e-4)


def test_groups_have_the_rates_and_decays_of_the_variant(tiny: LoadedBackbone, config: AdapterConfig) -> None:
    """The lower of two layers has half of the rate; projections, head and other matrices decay on their own."""
    variant = Variant(layer_rate=0.5, projection_decay=0.3, head_decay=0.2, gate=True)
    model = VariantModel(tiny.backbone, config, variant)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, 1.0, 0.1, variant)
        for parameter in group["params"]
    }
    assert set(found) == set(names.values())
    assert found["layers.0.down_a.weight"] == (0.5, 0.3)
    assert found["layers.1.down_b.weight"] == (1.0, 0.3)
    assert found["layers.1.up.weight"] == (1.0, 0.1)
    assert found["layers.0.gate"] == (0.5, 0.0)
    assert found["head.weight"] == (1.0, 0.2)
    assert found["head.bias"] == found["layers.1.up.bias"] == (1.0, 0.0)


def test_the_default_variant_trains_as_adakron_train_does(
    setting: worker.Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own model and optimizer give the same weights, bit for bit, as Trainer's."""
    monkeypatch.setattr("benchmarks.glue.alone.VARIANTS", {"none": Variant()})
    codec, train, validation = worker.rows_of("rte", setting, 128)
    plain, variant = (
        worker.train_one(run, setting, train, validation, codec) for run in (RUN, replace(RUN, variant="none"))
    )
    assert plain.weights.keys() == variant.weights.keys()
    for name, weight in plain.weights.items():
        assert torch.equal(weight, variant.weights[name]), name
    assert plain.scores == variant.scores


def test_learning_norms_are_counted_and_learn(setting: worker.Setting, tiny: LoadedBackbone) -> None:
    """Five norms of the tiny backbone, each with a weight and a bias; the frozen ones are as they were."""
    codec, train, validation = worker.rows_of("rte", setting, 128)
    plain, norms = (
        worker.train_one(run, setting, train, validation, codec) for run in (RUN, replace(RUN, variant="norms"))
    )
    assert norms.num_trained == plain.num_trained + 5 * 2 * 32
    before = tiny.backbone.norm.weight
    assert not torch.equal(norms.weights["norms.0.weight"], before)
    assert not any(name.startswith("norms") for name in plain.weights)


@pytest.mark.parametrize("contender", VARIED, ids=lambda contender: contender.name)
def test_the_grid_trains_every_variant(contender: Any, setting: worker.Setting) -> None:
    """Each run is a stack of its own and leaves a line, from which the next call knows it."""
    run = replace(contender.runs("rte", 1, epochs=1)[0], bottleneck=8, batch_size=16)
    ((group,),) = stacks([run], [], largest=8)
    (line,) = worker.train([group], setting)
    assert Run.of(line) == run
    assert stacks([run], [Run.of(line)], largest=8) == []
    assert len(line["scores"]) == 1
    assert 0 <= line["score"] <= 1


def test_a_line_from_before_the_variants_is_read() -> None:
    """Lines without the last fields are runs without a variant."""
    line = asdict(RUN)
    del line["variant"], line["merged_seeds"]
    assert Run.of(line) == RUN
