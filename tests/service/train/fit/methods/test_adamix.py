"""AdaMix: routes, the consistency of two of them, and the merge."""

import copy

import pytest
import torch
from torch.nn import functional as F

from adapters.backbone.source import LoadedBackbone
from service.train.fit.methods.adamix import AdaMix, consistency
from tests.support.methods import make_model, pack, randomise
from tests.support.reference import random_encodings

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_merged_adapter_computes_the_average() -> None:
    """In evaluation the mixture gives the outputs of the plain adapter with the averaged weights."""
    mixture, h = AdaMix(32, 8, 4).eval(), torch.randn(5, 32)
    for parameter in mixture.parameters():
        torch.nn.init.normal_(parameter)
    assert torch.allclose(mixture(h), mixture.merge()(h), atol=1e-5)


def test_a_call_in_training_takes_one_expert_of_each_projection() -> None:
    """The experts are drawn independently, and in time each pair is."""
    mixture, h = AdaMix(6, 4, 3).train(), torch.randn(2, 6)
    for parameter in mixture.parameters():
        torch.nn.init.normal_(parameter)
    pairs = [h + up(F.gelu(down(h))) for down in mixture.down for up in mixture.up]
    drawn = set()
    for _ in range(200):
        output = mixture(h)
        matches = [index for index, pair in enumerate(pairs) if torch.equal(output, pair)]
        drawn.update(matches)
        assert len(matches) == 1
    assert drawn == set(range(9))


@pytest.mark.parametrize("scheme", ["identity", "published"])
def test_experts_start_equal(scheme: str) -> None:
    """All experts are copies of one draw."""
    mixture = AdaMix(6, 4, 3)
    mixture.initialise(scheme)  # type: ignore[arg-type]
    for experts in (mixture.down, mixture.up):
        assert all(torch.equal(expert.weight, experts[0].weight) for expert in experts)


def test_the_consistency_is_the_mean_of_both_divergences() -> None:
    """Written out with torch's own KL divergence, for each type of task."""
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    p, q = a.log_softmax(-1), b.log_softmax(-1)
    one_way, other_way = (F.kl_div(y, x, log_target=True, reduction="batchmean") for x, y in ((p, q), (q, p)))
    assert float(consistency(a, b, "single_label")) == pytest.approx(float(one_way + other_way) / 2, rel=1e-5)
    assert float(consistency(a, b, "regression")) == pytest.approx(float((a - b).square().mean()), rel=1e-5)
    one, other = torch.sigmoid(a), torch.sigmoid(b)
    labels = one * (one / other).log() + (1 - one) * ((1 - one) / (1 - other)).log()
    labels = labels + other * (other / one).log() + (1 - other) * ((1 - other) / (1 - one)).log()
    assert float(consistency(a, b, "multi_label")) == pytest.approx(float(labels.mean()) / 2, rel=1e-4)
    assert float(consistency(a, a, "single_label")) == 0.0


def test_the_gradient_is_that_of_the_loss_and_the_consistency(tiny: LoadedBackbone) -> None:
    """The logits carry the consistency loss: its gradient is added to that of the trainer's loss, at weight 1."""
    model = randomise(make_model("adamix", copy.deepcopy(tiny.backbone))).train()
    batch, labels = pack(random_encodings((5, 17, 9), 100)), torch.tensor([0, 1, 1])
    torch.manual_seed(3)
    F.cross_entropy(model(*batch), labels).backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    torch.manual_seed(3)  # the same routes
    plain = super(type(model), model).forward
    first, second = plain(*batch), plain(*batch)
    (F.cross_entropy(first, labels) + consistency(first, second, "single_label")).backward()
    for name, parameter in model.named_parameters():
        assert (found[name] is None) == (parameter.grad is None), name
        if parameter.grad is not None:
            assert torch.allclose(found[name], parameter.grad, atol=1e-6), name


def test_the_merged_model_gives_the_logits_of_evaluation(tiny: LoadedBackbone) -> None:
    """In evaluation nothing is drawn: the logits are those of plain adapters with the averaged weights."""
    model = randomise(make_model("adamix", tiny.backbone)).eval()
    batch = pack(random_encodings((5, 17), 100))
    with torch.inference_mode():
        assert torch.equal(model(*batch), model(*batch))
        assert torch.allclose(model(*batch), model.merged()(*batch), atol=1e-5)
