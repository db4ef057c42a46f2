"""Adapters in models of transformers: where they are, what learns, and how they go away again."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.integrations import (
    AdaKronConfig,
    IntegrationError,
    adakron_disabled,
    add_adakron,
    merge_adakron,
    remove_adakron,
)
from adapters.integrations.sites import FEED_FORWARD_OUTPUTS
from tests.support.families import HEADS, SITES, logits_of, make_model, randomise

SMALL = AdaKronConfig(r=12, q=4)
families = pytest.mark.parametrize("family", SITES)


def trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def slow_adapter(h: Tensor, adapter: nn.Module) -> Tensor:
    """The equation, one token at a time: h [..., H] -> [..., H]."""
    rows = []
    for token in h.reshape(-1, h.shape[-1]):
        a = adapter.down_a.weight @ token + adapter.down_a.bias
        b = adapter.down_b.weight @ token + adapter.down_b.bias
        z = torch.kron(b, a)
        rows.append(token + adapter.up.weight @ (z * 0.5 * (1 + torch.erf(z / 2**0.5))) + adapter.up.bias)
    return torch.stack(rows).view_as(h)


def test_every_family_of_the_table_is_tested() -> None:
    """The models of these tests are those of the table."""
    assert SITES.keys() == FEED_FORWARD_OUTPUTS.keys()


@families
def test_starts_as_the_identity_at_the_feed_forward_outputs(family: str) -> None:
    """New adapters stand at the named layers, and change no logit."""
    model = make_model(family).requires_grad_(False)  # torch folds some products only where gradients flow
    before = logits_of(model)
    assert add_adakron(model, SMALL) is model
    assert [name for name, module in model.named_modules() if hasattr(module, "adakron")] == SITES[family]
    assert torch.equal(logits_of(model), before)


@families
@torch.no_grad()
def test_the_equation_applies_after_the_bias(family: str) -> None:
    """A layer with an adapter gives the equation of the layer's own output, and the logits depend on it."""
    model = make_model(family)
    before = logits_of(model)
    add_adakron(model, SMALL)
    randomise(model)
    for site in SITES[family]:
        layer = model.get_submodule(site)
        if layer.bias is not None:
            layer.bias.normal_()
        x = torch.randn(2, 3, 64 if family != "gpt2" else layer.nx)
        plain = x @ layer.weight + layer.bias if family == "gpt2" else F.linear(x, layer.weight, layer.bias)
        assert (layer(x) - slow_adapter(plain, layer.adakron)).abs().max() < 1e-4
    assert (logits_of(model) - before).abs().max() > 1e-3


@families
def test_only_adapters_and_heads_learn(family: str) -> None:
    """Three steps change every tensor of the adapters and of the task head, and no other weight by a bit."""
    model = add_adakron(make_model(family), SMALL).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        (logits_of(model) - 1).square().mean().backward()
        optimizer.step()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == trained(model)
    assert {name for name in changed if ".adakron." not in name} == {
        name for name in before if name.split(".")[0] in HEADS[family]
    }


@families
def test_can_be_disabled_and_removed(family: str) -> None:
    """Without its adapters a model gives the old logits bit for bit, and has its old parameters, all trainable."""
    model = make_model(family).requires_grad_(False)
    frozen = logits_of(model)
    before, names = logits_of(model.requires_grad_(True)), trained(model)
    add_adakron(model, AdaKronConfig(r=12, modules_to_save=()))
    randomise(model)
    adapted = logits_of(model)
    with adakron_disabled(model):
        assert torch.equal(logits_of(model), frozen)
    assert torch.equal(logits_of(model), adapted)
    assert not torch.equal(adapted, before)
    assert remove_adakron(model) is model
    assert torch.equal(logits_of(model), before)
    assert trained(model) == names == dict(model.named_parameters()).keys()


@families
@pytest.mark.parametrize(("experts_a", "experts_b"), [(1, 4), (3, 2)])
def test_a_mixture_merges_exactly(family: str, experts_a: int, experts_b: int) -> None:
    """In evaluation a mixture and its merge give the same logits, and the merge has the tensors of a plain adapter."""
    model = add_adakron(make_model(family), AdaKronConfig(r=12, experts_a=experts_a, experts_b=experts_b))
    randomise(model)
    unmerged = logits_of(model)
    merge_adakron(model)
    merged = logits_of(model)
    assert (merged - unmerged).abs().max() < 1e-4 * (1 + unmerged.abs().max())
    assert {name.split(".adakron.")[1] for name in model.state_dict() if ".adakron." in name} == {
        f"{part}.{kind}" for part in ("down_a", "down_b", "up") for kind in ("weight", "bias")
    }


def test_a_copy_is_independent() -> None:
    """A deep copy computes with adapters of its own, and removing them leaves the original alone."""
    model = add_adakron(make_model("gpt2"), SMALL)
    randomise(model)
    twin = copy.deepcopy(model)
    adapted = logits_of(model)
    assert torch.equal(logits_of(twin), adapted)
    remove_adakron(twin)
    assert not torch.equal(logits_of(twin), adapted)
    assert torch.equal(logits_of(model), adapted)


def test_a_base_in_bfloat16_keeps_adapters_in_float32() -> None:
    """The adapters compute in float32 and return the type of the layer."""
    model = make_model("llama").to(torch.bfloat16)
    before = logits_of(model)
    add_adakron(model, SMALL)
    assert torch.equal(logits_of(model), before)
    assert model.get_submodule(SITES["llama"][0]).adakron.up.weight.dtype is torch.float32


def test_modules_can_be_named() -> None:
    """`target_modules` gives adapters to some layers, `modules_to_save` lets other modules learn."""
    config = AdaKronConfig(r=12, target_modules=["h.1.mlp.c_proj"], modules_to_save=["transformer.ln_f"])
    model = add_adakron(make_model("gpt2"), config)
    assert {name.split(".adakron.")[0] for name in trained(model)} == {
        "transformer.h.1.mlp.c_proj",
        "transformer.ln_f.weight",
        "transformer.ln_f.bias",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 10}, "r=10 is not a multiple of q=4"),
        ({"r": 0}, "r=0: it must be at least 1"),
        ({"experts_b": 0}, "experts_b=0: it must be at least 1"),
        ({"initialisation": "zero"}, "initialisation='zero': choose one of published, identity"),
        ({"pooling": "max"}, "pooling='max': choose one of None, cls, mean, pooler"),
        ({"target_modules": "mlp.c_proj"}, r"target_modules='mlp.c_proj' is one text: write \('mlp.c_proj',\)"),
        ({"target_modules": ()}, "target_modules is empty"),
        ({"target_modules": ("mlp.fc9",)}, "no module of GPT2LMHeadModel has a name that ends in 'mlp.fc9'"),
        ({"target_modules": ("h.*.mlp",)}, "transformer.h.0.mlp is a GPT2MLP, not a linear layer"),
        ({"modules_to_save": ("score",)}, "has no module 'score', only transformer, lm_head"),
        ({"modules_to_save": ("transformer.h",)}, "transformer.h contains layers with adapters"),
        ({"pooling": "mean"}, "pooling='mean' is for BertForSequenceClassification, not GPT2LMHeadModel"),
    ],
)
def test_bad_configs_are_refused(options: dict[str, object], message: str) -> None:
    """One line names field, value and remedy, and the model stays as it was."""
    model = make_model("gpt2")
    names = trained(model)
    with pytest.raises(IntegrationError, match=message) as caught:
        add_adakron(model, AdaKronConfig(**options))
    assert "\n" not in str(caught.value)
    assert trained(model) == names
    assert not any(".adakron." in name for name in model.state_dict())


def test_unknown_families_are_refused() -> None:
    """The message lists the families that are known, and how to name modules; with them any model has adapters."""
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
    with pytest.raises(IntegrationError, match=r"'unknown' is not one of bert, .*, llama: .*target_modules="):
        add_adakron(model)
    add_adakron(model, AdaKronConfig(r=4, q=2, target_modules=("2",)))
    assert model(torch.zeros(1, 8)).shape == (1, 8)


def test_adapters_are_added_once() -> None:
    """A second `add_adakron` is refused, and so is removing what is not there."""
    model = add_adakron(make_model("gpt2"), SMALL)
    with pytest.raises(IntegrationError, match=r"already has AdaKron adapters: call remove_adakron\(model\) first"):
        add_adakron(model, SMALL)
    remove_adakron(model)
    for change in (remove_adakron, merge_adakron):
        with pytest.raises(IntegrationError, match="no AdaKron adapters: call add_adakron or load_adakron first"):
            change(model)


def test_imports_no_transformers() -> None:
    """The package is imported without transformers, and `adapters` without the package."""
    code = """
import sys
import adapters.checkpoint, adapters.serving.inference
assert "adapters.integrations" not in sys.modules
import adapters.integrations
assert "transformers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
