"""The adapters of a transformers model as one safetensors file: adapters, task heads and config, nothing of the base.

Each site also stores the first weights of its layer, so that a file does not load onto another base model. These files
are for models of transformers; the server reads only the adapter file (`adapters.integrations.bert` writes it).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from torch import Tensor, nn

from adapters.checkpoint import METADATA_KEY
from adapters.integrations.config import AdaKronConfig, IntegrationError
from adapters.integrations.transformers import ADAPTER, Model, Plan, attach, make_plan, merged_adapters, state_of

_KEY = "adakron_transformers"
_FORMAT = 1
_BASE = "base"  # a site's tensor with the first weights of its layer
_NUM_BASE = 16
_BASE_TOLERANCE = 2**-6  # of the largest of them: a base in bfloat16 or float16 is still the same


def save_adakron(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the adapters and the task heads of `model` to the file `path`, in float32; mixtures are merged.

    Equal values give equal bytes. Raises IntegrationError if the model has no adapters or one has a NaN or Inf.
    """
    state = state_of(model)
    tensors: dict[str, Tensor] = {}
    for site, adapter in merged_adapters(model).items():
        tensors |= {f"{site}.{ADAPTER}.{key}": tensor for key, tensor in adapter.state_dict().items()}
        if (weights := _first_weights(model.get_submodule(site))) is not None:
            tensors[f"{site}.{_BASE}"] = weights
    for head in state.heads:
        tensors |= {f"{head}.{key}": tensor for key, tensor in model.get_submodule(head).state_dict().items()}
    stored = {name: tensor.detach().to("cpu", torch.float32).contiguous().clone() for name, tensor in tensors.items()}
    _check_finite(stored, "the model")
    metadata = {
        "format_version": _FORMAT,
        "model_type": _model_type(model),
        "config": asdict(replace(state.config, experts_a=1, experts_b=1)),
    }
    text = json.dumps(metadata, sort_keys=True)
    target, scratch = Path(path), Path(f"{os.fspath(path)}.{os.getpid()}.tmp")
    try:
        scratch.write_bytes(safetensors.torch.save(stored, metadata={_KEY: text}))
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def load_adakron(model: Model, path: str | os.PathLike[str]) -> Model:
    """Add the adapters in the file `path` to `model`, in place, with its task heads, and return the model.

    The base model's weights must be those that the adapters were trained on. Raises IntegrationError for another file,
    another model, and a model that already has adapters; the model is then unchanged.
    """
    metadata, tensors = _read(Path(path))
    if metadata["model_type"] != (found := _model_type(model)):
        raise IntegrationError(f"{path} is for a model of type {metadata['model_type']!r:.40}, not {found!r}")
    plan = make_plan(model, metadata["config"])
    adapters = {f"{site}.{ADAPTER}": adapter for site, adapter in plan.adapters.items()}
    modules: dict[str, nn.Module] = {**adapters, **plan.heads}
    _check_tensors(modules, plan, tensors, Path(path))
    for name, module in modules.items():
        module.load_state_dict({key: tensors[f"{name}.{key}"] for key in module.state_dict()})
    attach(model, plan)
    return model


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return metadata and tensors of a file; the config in the metadata is an AdaKronConfig."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrationError(f"{path} cannot be read: {error.strerror}") from None
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError as error:
        raise IntegrationError(f"{path} is not a whole safetensors file: {error}") from None
    found = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    if METADATA_KEY in found:
        raise IntegrationError(f"{path} is an adapter file of the server: load it with import_adapter")
    if _KEY not in found:
        raise IntegrationError(f"{path} was not written by save_adakron")
    try:
        metadata = json.loads(found[_KEY])
        version, _ = metadata["format_version"], metadata["model_type"]
        metadata["config"] = TypeAdapter(AdaKronConfig).validate_python(metadata["config"])
    except (ValueError, KeyError, TypeError):
        raise IntegrationError(f"{path} has damaged metadata: write it again with save_adakron") from None
    if version != _FORMAT:
        raise IntegrationError(f"{path} has format_version {version!r:.20}; this release reads {_FORMAT}")
    return metadata, tensors


def _check_tensors(modules: Mapping[str, nn.Module], plan: Plan, tensors: Mapping[str, Tensor], path: Path) -> None:
    wanted = {
        f"{name}.{key}": tuple(tensor.shape)
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }
    base = {f"{site}.{_BASE}": layer for site, layer in plan.sites.items()}
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise IntegrationError(f"{path} does not fit this model: it lacks {missing[0]} ({len(missing)} in all)")
    if extra := sorted(tensors.keys() - wanted.keys() - base.keys()):
        raise IntegrationError(f"{path} does not fit this model, which has no {extra[0]} ({len(extra)} in all)")
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise IntegrationError(f"{path}: {name} is {list(tensors[name].shape)}, in the model {list(shape)}")
    _check_finite(tensors, str(path))
    for name, layer in base.items():
        here, there = _first_weights(layer), tensors.get(name)
        if here is not None and there is not None and not _is_same_base(here, there):
            site = name.removesuffix(f".{_BASE}")
            raise IntegrationError(f"{path} was trained on another base model: the weights of {site} differ")


def _check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise IntegrationError(f"{where}: {name} holds NaN or Inf")


def _first_weights(layer: nn.Module) -> Tensor | None:
    """Return the first 16 weights of a layer in float32 on the CPU; None for one whose weights are quantised."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        return None
    return weight.detach().reshape(-1)[:_NUM_BASE].to("cpu", torch.float32)


def _is_same_base(here: Tensor, there: Tensor) -> bool:
    return here.shape == there.shape and bool(((here - there).abs() <= _BASE_TOLERANCE * there.abs().max()).all())


def _model_type(model: nn.Module) -> str | None:
    return getattr(getattr(model, "config", None), "model_type", None)
