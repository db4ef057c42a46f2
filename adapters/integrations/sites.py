"""The modules of a model that get adapters or learn beside them, found by their names.

A *site* is the linear layer at the end of a feed-forward block.
"""

from collections.abc import Mapping

from torch import nn

from adapters.integrations.config import AdaKronConfig, IntegrationError

FEED_FORWARD_OUTPUTS: Mapping[str, str] = {  # model_type of a model's config -> end of the names of its sites
    "bert": "layer.*.output.dense",
    "roberta": "layer.*.output.dense",
    "distilbert": "layer.*.ffn.lin2",
    "gpt2": "h.*.mlp.c_proj",
    "t5": "layer.*.DenseReluDense.wo",
    "llama": "layers.*.mlp.down_proj",
}
HEADS = ("classifier", "pre_classifier", "score", "qa_outputs")  # from_pretrained draws new ones at random


def find_sites(model: nn.Module, config: AdaKronConfig) -> dict[str, nn.Module]:
    """Return the sites of `model` by name, in its order. Raises IntegrationError if a name matches no module."""
    family: str = getattr(getattr(model, "config", None), "model_type", "unknown")
    ends = config.target_modules
    if ends is None:
        if family not in FEED_FORWARD_OUTPUTS:
            raise IntegrationError(
                f"the model_type {family!r} is not one of {', '.join(FEED_FORWARD_OUTPUTS)}: name its feed-forward "
                "outputs, for example target_modules=('layers.*.mlp.down_proj',)"
            )
        ends = (FEED_FORWARD_OUTPUTS[family],)
    if not ends:
        raise IntegrationError("target_modules is empty: name at least one module, or leave it out")
    modules = dict(model.named_modules())
    for end in ends:
        if not any(_matches(name, end) for name in modules):
            raise IntegrationError(f"no module of {type(model).__name__} has a name that ends in {end!r}")
    return {name: module for name, module in modules.items() if any(_matches(name, end) for end in ends)}


def find_heads(model: nn.Module, config: AdaKronConfig, sites: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Return the modules that learn beside the adapters, by name. Raises IntegrationError if one is missing."""
    modules = dict(model.named_modules())
    names = config.modules_to_save
    if names is None:
        names = tuple(name for name in HEADS if name in modules)
    for name in names:
        if not name or name not in modules:
            children = ", ".join(child for child, _ in model.named_children())
            raise IntegrationError(f"modules_to_save: {type(model).__name__} has no module {name!r}, only {children}")
        if any(f"{site}.".startswith(f"{name}.") for site in sites):
            raise IntegrationError(f"modules_to_save: {name} contains layers with adapters: name smaller modules")
    return {name: modules[name] for name in names}


def width(name: str, layer: nn.Module) -> int:
    """Return the number of outputs of a linear layer. Raises IntegrationError for another kind of module."""
    found = getattr(layer, "out_features", getattr(layer, "nf", None))  # nn.Linear and its kin; GPT-2's Conv1D
    if not isinstance(found, int):
        raise IntegrationError(f"{name} is a {type(layer).__name__}, not a linear layer: choose other target_modules")
    return found


def is_bert_classifier(model: nn.Module) -> bool:
    """Whether `model` is transformers' BertForSequenceClassification, or a subclass of it."""
    return any(kind.__name__ == "BertForSequenceClassification" for kind in type(model).__mro__)


def _matches(name: str, end: str) -> bool:
    parts, ends = name.split("."), end.split(".")
    tail = parts[-len(ends) :]
    return len(tail) == len(ends) and all(
        part.isdecimal() if wanted == "*" else part == wanted for part, wanted in zip(tail, ends, strict=True)
    )
