"""Parameters of each method on BERT-base, and the parameters that a step changes."""

import copy

import pytest
import torch

from adapters.backbone.encoder import Backbone
from adapters.backbone.files import BertShape
from adapters.backbone.source import LoadedBackbone
from adapters.config import BackboneIdentity
from service.train.fit.methods import num_trained
from service.train.recipes import Method
from tests.support.methods import make_model, pack, randomise
from tests.support.reference import random_encodings

pytestmark = pytest.mark.usefixtures("one_thread")

# method, bottleneck, parameters, and millions as the poster prints them
POSTER: list[tuple[Method, int, int, str]] = [
    ("houlsby", 24, 903_744, "0.9"),
    ("bitfit", 48, 102_912, "0.1"),
    ("prefix-tuning", 48, 184_320, "0.2"),
    ("lora", 48, 294_912, "0.3"),
    ("unipelt-ap", 48, 1_097_304, "1.1"),
    ("unipelt-apl", 48, 1_410_672, "1.4"),
    ("pfeiffer", 48, 894_528, "0.9"),
    ("pfeiffer", 32, 599_424, "0.6"),
    ("adakron", 48, 599_232, "0.6"),
    ("adakron", 32, 414_864, "0.4"),
    ("full", 48, 109_482_240, "109.5"),
    ("head", 48, 0, "0.0"),
]
METHODS = dict.fromkeys([method for method, *_ in POSTER] + ["adamix", "madakron-partial", "madakron-full"])


@pytest.fixture
def bert_base() -> Backbone:
    """BERT-base's shapes without memory; the poster's tasks use its pooler."""
    identity = BackboneIdentity(
        name="bert-base", hidden_size=768, num_layers=12, weights_sha256="0" * 64, tokenizer_sha256="0" * 64
    )
    with torch.device("meta"):
        return Backbone(BertShape(), identity, has_pooler=True)


@pytest.mark.parametrize(("method", "width", "number", "printed"), POSTER)
def test_parameters_on_bert_base(method: Method, width: int, number: int, printed: str, bert_base: Backbone) -> None:
    """A method has the poster's number of parameters, to its printed digit."""
    with torch.device("meta"):
        model = make_model(method, bert_base, width, pooling="pooler")
    assert num_trained(model) == number
    assert f"{number / 1e6:.1f}" == printed


def test_a_merged_adamix_has_the_parameters_of_a_plain_adapter(bert_base: Backbone) -> None:
    """Four experts learn; the merged adapters have the poster's 0.9 million."""
    with torch.device("meta"):
        model = make_model("adamix", bert_base, 48, pooling="pooler")
        merged = [adapter.merge() for adapter in model.layers.values()]
    assert sum(parameter.numel() for adapter in merged for parameter in adapter.parameters()) == 894_528
    assert num_trained(model) == 4 * 894_528


@pytest.mark.parametrize("method", METHODS)
def test_a_step_changes_the_parameters_of_the_method_alone(method: Method, tiny: LoadedBackbone) -> None:
    """Each parameter that learns gets a gradient and changes; every other weight keeps its bits."""
    model = randomise(make_model(method, copy.deepcopy(tiny.backbone))).train()
    encodings = random_encodings((5, 17, 9), 100)
    before = {name: parameter.clone() for name, parameter in _all(model)}
    learning = {name for name, parameter in _all(model) if parameter.requires_grad}
    optimizer = torch.optim.AdamW([parameter for _, parameter in _all(model)], lr=0.01, weight_decay=0.0)
    for _ in range(40 if "mix" in method or "madakron" in method else 1):  # steps, until all experts were drawn
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(*pack(encodings)), torch.tensor([0, 1, 1])).backward()
        optimizer.step()
    changed = {name for name, parameter in _all(model) if not torch.equal(parameter, before[name])}
    assert changed == learning
    assert learning >= {"head.weight", "head.bias"}
    in_backbone = {name for name in learning if name.startswith("backbone.")}
    if method == "bitfit":
        biases = {name for name in before if name.startswith("backbone.") and name.endswith(".bias")}
        assert in_backbone == biases - {"backbone.pooler.bias"}
    elif method != "full":
        assert in_backbone == set()


def _all(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    """Every parameter of the model and of its backbone, once."""
    backbone = [(f"backbone.{name}", parameter) for name, parameter in model.backbone.named_parameters()]
    return backbone + [item for item in model.named_parameters() if not item[0].startswith("encoder.")]
