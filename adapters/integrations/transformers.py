"""AdaKron in a model of the transformers library: an adapter behind the output of each feed-forward block.

An adapter is a child module of the linear layer whose output it changes, and runs in a forward hook: after the layer's
bias, before dropout and residual. No module changes its class or its name, so `generate`, `Trainer` and
`save_pretrained` work as without adapters.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from adapters.integrations.config import AdaKronConfig, IntegrationError
from adapters.integrations.sites import find_heads, find_sites, is_bert_classifier, width
from adapters.method.adakron import AdaKron, MAdaKron

ADAPTER = "adakron"  # name of the adapter in the layer whose output it changes
_STATE = "_adakron_state"

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Plan:
    """New adapters for a model, which is not changed yet: modules by their names in it."""

    config: AdaKronConfig
    sites: Mapping[str, nn.Module]
    adapters: Mapping[str, AdaKron | MAdaKron]  # by the names of the sites
    heads: Mapping[str, nn.Module]  # the modules that learn beside the adapters


@dataclass
class State:
    """The adapters of a model, as names of its modules."""

    config: AdaKronConfig
    sites: tuple[str, ...]
    heads: tuple[str, ...]
    learned_before: frozenset[str]  # parameters
    handles: list[RemovableHandle]


def add_adakron(model: Model, config: AdaKronConfig | None = None) -> Model:
    """Add adapters to `model`, in place, freeze all other parameters except those of task heads, and return it.

    The adapters start as the identity unless `config.initialisation` is "published". Raises IntegrationError for an
    unknown family of models, a name that matches no module, and a model that already has adapters; it stays as it is.
    """
    plan = make_plan(model, config or AdaKronConfig())
    for adapter in plan.adapters.values():
        adapter.initialise(plan.config.initialisation)
    attach(model, plan)
    return model


def remove_adakron(model: Model) -> Model:
    """Remove the adapters from `model`, in place, and return it: the model that it was, except for trained heads."""
    state = state_of(model)
    for handle in state.handles:
        handle.remove()
    for site in state.sites:
        delattr(model.get_submodule(site), ADAPTER)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in state.learned_before)
    delattr(model, _STATE)
    return model


def merge_adakron(model: Model) -> Model:
    """Replace each mixture in `model` by the plain adapter that computes its average, in place, and return the model.

    An adapter itself cannot be merged into the weights of its layer, because GELU stands between.
    """
    state = state_of(model)
    for site, adapter in merged_adapters(model).items():
        layer = model.get_submodule(site)
        layer.add_module(ADAPTER, adapter.train(layer.training))
    state.config = replace(state.config, experts_a=1, experts_b=1)
    return model


@contextmanager
def adakron_disabled(model: nn.Module) -> Iterator[None]:
    """Let `model` compute without its adapters, and with its own pooling, in a `with` block."""
    state = state_of(model)
    for handle in state.handles:
        handle.remove()
    try:
        yield
    finally:
        state.handles = _register_hooks(model, state.sites, state.config)


def make_plan(model: nn.Module, config: AdaKronConfig) -> Plan:
    """Find the sites of `model` and make their adapters. Raises IntegrationError, and changes nothing."""
    if hasattr(model, _STATE):
        raise IntegrationError("the model already has AdaKron adapters: call remove_adakron(model) first")
    if config.pooling is not None and not is_bert_classifier(model):
        raise IntegrationError(
            f"pooling={config.pooling!r} is for BertForSequenceClassification, not {type(model).__name__}: leave it out"
        )
    sites = find_sites(model, config)
    adapters = {name: config.make_adapter(width(name, layer)) for name, layer in sites.items()}
    return Plan(config, sites, adapters, find_heads(model, config, sites))


def attach(model: nn.Module, plan: Plan) -> None:
    """Put the adapters of `plan` into `model`, for which it was made; only they and the heads learn from then on."""
    learned_before = frozenset(name for name, parameter in model.named_parameters() if parameter.requires_grad)
    model.requires_grad_(False)
    for name, layer in plan.sites.items():
        device = next(layer.parameters()).device
        layer.add_module(ADAPTER, plan.adapters[name].to(device).train(layer.training))
    for head in plan.heads.values():
        head.requires_grad_(True)
    handles = _register_hooks(model, tuple(plan.sites), plan.config)
    setattr(model, _STATE, State(plan.config, tuple(plan.sites), tuple(plan.heads), learned_before, handles))


def state_of(model: nn.Module) -> State:
    """Return the state of a model with adapters. Raises IntegrationError for another one."""
    state = getattr(model, _STATE, None)
    if not isinstance(state, State):
        raise IntegrationError("the model has no AdaKron adapters: call add_adakron or load_adakron first")
    return state


def merged_adapters(model: nn.Module) -> dict[str, AdaKron]:
    """Return the adapter of each site; for a mixture a new one that computes its average."""
    adapters = {site: getattr(model.get_submodule(site), ADAPTER) for site in state_of(model).sites}
    return {site: adapter.merge() if isinstance(adapter, MAdaKron) else adapter for site, adapter in adapters.items()}


def _register_hooks(model: nn.Module, sites: tuple[str, ...], config: AdaKronConfig) -> list[RemovableHandle]:
    handles = [model.get_submodule(site).register_forward_hook(_adapt) for site in sites]
    if config.pooling in ("cls", "mean"):
        hook = _pool_first if config.pooling == "cls" else _pool_mean
        handles.append(model.get_submodule("bert").register_forward_hook(hook, with_kwargs=True))
    return handles


def _adapt(layer: nn.Module, _: tuple[Any, ...], output: Tensor) -> Tensor:
    adapter = cast(AdaKron | MAdaKron, getattr(layer, ADAPTER))
    return cast(Tensor, adapter(output.to(adapter.up.weight.dtype)).to(output.dtype))


def _pool_first(_: nn.Module, __: tuple[Any, ...], ___: dict[str, Any], output: Any) -> Any:
    output.pooler_output = output.last_hidden_state[:, 0]
    return output


def _pool_mean(_: nn.Module, __: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
    hidden = output.last_hidden_state
    mask = options.get("attention_mask")
    weight = torch.ones_like(hidden[..., :1]) if mask is None else mask.unsqueeze(-1)
    weight = weight.to(hidden.device, torch.float32)
    output.pooler_output = ((hidden.float() * weight).sum(1) / weight.sum(1)).to(hidden.dtype)
    return output
