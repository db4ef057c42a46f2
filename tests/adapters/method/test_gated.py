"""The trainable gated model, against the merged adapters of its keys."""

import numpy as np
import pytest
import torch

from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone
from adapters.gates import GatedAdapter
from adapters.method.adakron import AdaKron
from adapters.method.gated import UNKNOWN, GatedAdaKron, GatedModel, share
from adapters.serving.inference import forward_encodings, predict_logits, to_gated_model
from tests.support.factories import make_adapter, make_gated

TEXTS = ["the film is good", "a", "one more story that is rather long", "dull", "the plot"]


@pytest.fixture
def model(tiny: LoadedBackbone) -> GatedModel:
    """Three keys and four experts, with random weights and gates."""
    config = make_adapter(identity=tiny.identity).metadata
    torch.manual_seed(0)
    model = GatedModel(tiny.backbone, config, 4, 3)
    model.initialise("unit")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def packed(tiny: LoadedBackbone, model: GatedModel) -> tuple[torch.Tensor, torch.Tensor, Packing]:
    encodings = tiny.encoder.encode_for(model.config.task, TEXTS)
    tokens, types = (
        torch.from_numpy(np.concatenate([getattr(item, name) for item in encodings]))
        for name in ("token_ids", "type_ids")
    )
    return tokens, types, Packing.of([len(item) for item in encodings])


def test_each_key_computes_its_merged_adapter(tiny: LoadedBackbone, model: GatedModel) -> None:
    """In a batch of several keys, each text has the logits of its key's merged adapter, or of the mean gate's."""
    keys = np.array([2, UNKNOWN, 0, 1, 0])
    encodings = tiny.encoder.encode_for(model.config.task, TEXTS)
    logits = forward_encodings(model, encodings, keys=keys)
    for row, key in enumerate(keys):
        alone = forward_encodings(model.merge(int(key)), [encodings[row]])[0]
        assert np.allclose(logits[row], alone, atol=1e-5)
        others = [forward_encodings(model.merge(other), [encodings[row]])[0] for other in {0, 1, 2, UNKNOWN} - {key}]
        assert all(np.abs(logits[row] - other).max() > 1e-4 for other in others)


def test_one_key_for_all_is_the_same(tiny: LoadedBackbone, model: GatedModel) -> None:
    """One key for the whole batch, which merges first, equals that key beside each text; gradients, too."""
    batch = packed(tiny, model)
    together, each = model(*batch, torch.tensor([1])), model(*batch, torch.tensor([1] * len(TEXTS)))
    assert torch.allclose(together, each, atol=1e-5)
    parameters = [item for item in model.parameters() if item.requires_grad]
    weights = torch.randn_like(each)
    gradients = [torch.autograd.grad((logits * weights).sum(), parameters) for logits in (together, each)]
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(*gradients, strict=True))


def test_without_keys_the_mean_gate_answers(tiny: LoadedBackbone, model: GatedModel) -> None:
    """A batch without keys has the mean over the keys' gates."""
    batch = packed(tiny, model)
    table = model.gates.table()
    assert torch.allclose(model.gates.mean(), sum(table) / 3)
    assert torch.allclose(table.sum(-1), torch.ones(3, 2))
    assert torch.equal(model(*batch), model(*batch, torch.tensor([UNKNOWN])))


def test_an_even_gate_is_the_average_of_experts() -> None:
    """Even weights give the projections' average; a weight of one gives that expert alone."""
    torch.manual_seed(0)
    gated, h = GatedAdaKron(6, 3, 2, 2), torch.randn(5, 6)
    for parameter in gated.parameters():
        torch.nn.init.normal_(parameter)
    experts = [gated.merge(torch.tensor(alpha)) for alpha in ([1.0, 0.0], [0.0, 1.0])]
    average = AdaKron(6, 3, 2)
    for name, parameter in average.named_parameters():
        parameter.data = sum(dict(expert.named_parameters())[name].detach() for expert in experts) / 2
    assert torch.allclose(gated(h, torch.tensor([[0.5, 0.5]])), average(h), atol=1e-5)
    assert torch.allclose(gated(h, torch.tensor([[0.0, 1.0]] * 5)), experts[1](h), atol=1e-5)


def test_only_keys_of_the_batch_learn(tiny: LoadedBackbone, model: GatedModel) -> None:
    """The own gates of other keys get no gradient."""
    model(*packed(tiny, model), torch.tensor([0, 0, 2, 2, 0])).sum().backward()
    gradient = model.gates.own.grad
    assert gradient is not None
    assert gradient[1].abs().max() == 0
    assert gradient[0].abs().max() > 0
    assert gradient[2].abs().max() > 0


@pytest.mark.parametrize("row", [None, 0, 2])
def test_a_file_becomes_a_model(tiny: LoadedBackbone, row: int | None) -> None:
    """The trainable model of a gated file computes what the merged adapters of the file compute."""
    gated: GatedAdapter = make_gated(identity=tiny.identity, seed=3)
    encodings = tiny.encoder.encode_for(gated.metadata.task, TEXTS)
    keys = np.full(len(TEXTS), UNKNOWN if row is None else row)
    logits = forward_encodings(to_gated_model(tiny, gated), encodings, keys=keys)
    assert np.allclose(logits, predict_logits(tiny, gated.merge(row), TEXTS), atol=1e-5)


def test_models_share_all_except_the_head(tiny: LoadedBackbone) -> None:
    """After `share` a step of one model changes the experts and gates of the other, and not its head."""
    config = make_adapter(identity=tiny.identity).metadata
    models = [GatedModel(tiny.backbone, config, 2, 2) for _ in range(2)]
    share(models)
    models[0].initialise("unit")
    assert models[1].layers is models[0].layers
    assert models[1].gates is models[0].gates
    assert models[1].head is not models[0].head


def test_initialised_experts_differ(tiny: LoadedBackbone) -> None:
    """Each expert is drawn alone, and the gates start near the even one, each a little different."""
    config = make_adapter(identity=tiny.identity).metadata
    model = GatedModel(tiny.backbone, config, 3, 5)
    model.initialise("unit")
    site = model.layers["0"]
    assert isinstance(site, GatedAdaKron)
    assert not torch.equal(site.down_a.weight[0], site.down_a.weight[1])
    assert bool((site.down_b.bias == 1).all())
    assert bool((site.up.weight == 0).all())
    gates = model.gates.table()
    assert (gates - 1 / 3).abs().max() < 0.6
    assert all(not torch.equal(gates[0], other) for other in gates[1:])
