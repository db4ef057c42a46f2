"""A method's name -> its model, not initialised."""

from collections.abc import Callable

from torch import nn

from adapters.backbone.encoder import Backbone
from adapters.config import AdapterConfig
from adapters.method.adakron import MAdaKron
from adapters.method.model import AdapterModel
from service.train.fit.methods.adamix import AdaMix, AdaMixModel
from service.train.fit.methods.attention import LoRA, PrefixTuning
from service.train.fit.methods.bottleneck import Bottleneck, Houlsby
from service.train.fit.methods.encoder import BitFitModel, FullModel, HeadModel
from service.train.fit.methods.tuned import LayerTuning, TunedModel
from service.train.fit.methods.unipelt import UniPELT
from service.train.recipes import Method


def build_model(method: Method, experts: int, backbone: Backbone, config: AdapterConfig) -> AdapterModel:
    """Build the model of `method`, not initialised; `experts` is the number per projection of a mixture."""
    hidden, width, p, q = config.backbone.hidden_size, config.bottleneck, config.p, config.q
    encoders: dict[Method, type[HeadModel]] = {"full": FullModel, "bitfit": BitFitModel, "head": HeadModel}
    tunings: dict[Method, Callable[[], LayerTuning]] = {
        "houlsby": lambda: Houlsby(hidden, width),
        "prefix-tuning": lambda: PrefixTuning(hidden),
        "lora": lambda: LoRA(hidden),
        "unipelt-ap": lambda: UniPELT(hidden, width, lora=False),
        "unipelt-apl": lambda: UniPELT(hidden, width, lora=True),
    }
    sites: dict[Method, Callable[[], nn.Module] | None] = {
        "adakron": None,
        "madakron-partial": lambda: MAdaKron(hidden, p, q, experts_a=1, experts_b=experts),
        "madakron-full": lambda: MAdaKron(hidden, p, q, experts_a=experts, experts_b=experts),
        "pfeiffer": lambda: Bottleneck(hidden, width),
    }
    if method in encoders:
        return encoders[method](backbone, config)
    if method in tunings:
        return TunedModel(backbone, config, tunings[method])
    if method == "adamix":
        return AdaMixModel(backbone, config, lambda: AdaMix(hidden, width, experts))
    return AdapterModel(backbone, config, sites[method])


def num_trained(model: nn.Module) -> int:
    """Count the parameters that learn, without the head, as the paper does."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not name.startswith("head.")
    )
