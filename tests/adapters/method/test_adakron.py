"""The AdaKron module and its mixture."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adapters.method.adakron import AdaKron, Initialisation, MAdaKron, kronecker

GOLDEN = load_file(Path(__file__).parent / "golden" / "adakron_reference.safetensors")


def golden(name: str) -> dict[str, torch.Tensor]:
    prefix = name + "."
    return {key.removeprefix(prefix): value for key, value in GOLDEN.items() if key.startswith(prefix)}


@pytest.mark.parametrize("name", ["adakron_h768_r48", "adakron_h768_r32", "adakron_h384_r48"])
def test_golden_outputs(name: str) -> None:
    """The module computes what the paper's own code computes, to 1e-12 in float64."""
    tensors = golden(name)
    expected, given = tensors.pop("output"), tensors.pop("input")
    module = AdaKron(given.shape[-1], len(tensors["down_a.bias"]), len(tensors["down_b.bias"])).double()
    module.load_state_dict(tensors)
    assert (module(given) - expected).abs().max() < 1e-12


def golden_mixture() -> tuple[MAdaKron, torch.Tensor, torch.Tensor]:
    tensors = golden("madakron_partial_h768_r48_e4")
    expected, given = tensors.pop("output"), tensors.pop("input")
    experts = len(tensors["down_b.bias"])
    mixture = MAdaKron(768, 12, 4, experts_a=1, experts_b=experts).double()
    state = {
        "down_a.0.weight": tensors["down_a.weight"],
        "down_a.0.bias": tensors["down_a.bias"],
        "up.weight": tensors["up.weight"],
        "up.bias": tensors["up.bias"],
    }
    for index in range(experts):
        state[f"down_b.{index}.weight"] = tensors["down_b.weight"][index]
        state[f"down_b.{index}.bias"] = tensors["down_b.bias"][index]
    mixture.load_state_dict(state)
    return mixture.eval(), given, expected


def test_golden_mixture() -> None:
    """A mixture in evaluation computes what the authors' averaged experts compute."""
    mixture, given, expected = golden_mixture()
    assert (mixture(given) - expected).abs().max() < 1e-12


def test_merged_mixture_is_a_plain_adapter() -> None:
    """Merging changes nothing: the plain adapter gives the mixture's outputs."""
    mixture, given, expected = golden_mixture()
    assert (mixture.merge()(given) - expected).abs().max() < 1e-12


def test_mixture_draws_one_expert_per_call_in_training() -> None:
    """Each call in training uses a single expert, and many calls use every one."""
    mixture = MAdaKron(8, 2, 2, experts_a=1, experts_b=3).train()
    given = torch.randn(1, 8)
    singles = []
    for expert in mixture.down_b:
        z = kronecker(expert(given), mixture.down_a[0](given))
        singles.append(given + mixture.up(torch.nn.functional.gelu(z)))
    seen = set()
    for _ in range(60):
        output = mixture(given)
        seen.add(next(i for i, single in enumerate(singles) if torch.allclose(single, output)))
    assert seen == {0, 1, 2}


def test_kronecker_order() -> None:
    """z[j * p + i] = b[j] * a[i]: the q-wide output comes first."""
    b, a = torch.tensor([2.0, 3.0]), torch.tensor([5.0, 7.0, 11.0])
    assert kronecker(b, a).tolist() == torch.kron(b, a).tolist() == [10, 14, 22, 15, 21, 33]


def test_identity_start_changes_nothing() -> None:
    """The identity initialisation passes h through unchanged."""
    module = AdaKron(16, 3, 4)
    module.initialise("identity")
    given = torch.randn(5, 16)
    assert torch.equal(module(given), given)


@pytest.mark.parametrize("scheme", ["identity", "scaled", "unit"])
@pytest.mark.parametrize("experts", [0, 3])
def test_every_start_but_the_published_is_the_identity(scheme: Initialisation, experts: int) -> None:
    """Nothing is added until W_up has learnt something; the projections are there from the start."""
    module = MAdaKron(16, 3, 4, experts_a=experts, experts_b=experts) if experts else AdaKron(16, 3, 4)
    module.initialise(scheme)
    given = torch.randn(5, 16)
    assert torch.equal(module(given), given)
    learnt = [parameter for name, parameter in module.named_parameters() if name.startswith("down")]
    assert all(parameter.std() > 0.1 for parameter in learnt if parameter.dim() == 2)


def test_scaled_start_has_the_variance_of_one_projection() -> None:
    """z = b (x) a has about the variance of a for h of unit variance; with nn.Linear's weights it has a third of it."""
    h = torch.randn(4000, 256)
    shares = {}
    for scheme in ("identity", "scaled"):
        module = AdaKron(256, 12, 4)
        module.initialise(scheme)
        a, b = module.down_a(h), module.down_b(h)
        shares[scheme] = (kronecker(b, a).var() / a.var()).item()
    assert shares["identity"] == pytest.approx(1 / 3, rel=0.25)
    assert shares["scaled"] == pytest.approx(1.0, rel=0.25)


def test_unit_start_is_a_plain_bottleneck() -> None:
    """z is q copies of a if W_b h is 0."""
    module = AdaKron(16, 3, 4)
    module.initialise("unit")
    module.down_b.weight.data.zero_()
    h = torch.randn(5, 16)
    assert torch.allclose(kronecker(module.down_b(h), module.down_a(h)), module.down_a(h).repeat(1, 4))


def test_published_start_has_small_weights_and_no_biases() -> None:
    """The published initialisation is normal with deviation 0.02, biases zero."""
    module = AdaKron(768, 12, 4)
    module.initialise("published")
    for linear in (module.down_a, module.down_b, module.up):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert not linear.bias.any()
