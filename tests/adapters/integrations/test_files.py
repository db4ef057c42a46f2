"""The file of the adapters in a transformers model: equal logits after a round trip, one line for other files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from adapters import checkpoint
from adapters.errors import CheckpointError
from adapters.integrations import (
    AdaKronConfig,
    IntegrationError,
    add_adakron,
    load_adakron,
    merge_adakron,
    remove_adakron,
    save_adakron,
)
from tests.support.factories import make_adapter_bytes
from tests.support.families import SITES, logits_of, make_model, randomise

SMALL = AdaKronConfig(r=12, q=4)
SITE = SITES["gpt2"][0]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The file of a GPT-2's adapters."""
    model = add_adakron(make_model("gpt2"), SMALL)
    randomise(model)
    save_adakron(model, tmp_path / "saved.safetensors")
    return tmp_path / "saved.safetensors"


@pytest.mark.parametrize("family", SITES)
def test_round_trip(family: str, tmp_path: Path) -> None:
    """A fresh base model with the file gives the same logits, bit for bit; the file holds nothing of the base."""
    model = add_adakron(make_model(family), SMALL)
    randomise(model)
    save_adakron(model, tmp_path / "one")
    save_adakron(model, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert safetensors.torch.load_file(tmp_path / "one").keys() == learned | {f"{site}.base" for site in SITES[family]}
    fresh = make_model(family)
    assert load_adakron(fresh, tmp_path / "one") is fresh
    assert torch.equal(logits_of(fresh), logits_of(model))
    assert {name for name, parameter in fresh.named_parameters() if parameter.requires_grad} == learned
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one", "two"]


def test_a_mixture_is_saved_merged(tmp_path: Path) -> None:
    """The file of a mixture is that of its merge, and the model keeps its experts."""
    model = add_adakron(make_model("t5"), AdaKronConfig(r=12, experts_b=3))
    randomise(model)
    save_adakron(model, tmp_path / "mixture")
    assert any(".down_b.2." in name for name in model.state_dict())
    merge_adakron(model)
    save_adakron(model, tmp_path / "merged")
    assert (tmp_path / "mixture").read_bytes() == (tmp_path / "merged").read_bytes()


def test_a_base_in_bfloat16_is_the_same_base(saved: Path) -> None:
    """Rounding the base model does not make it another one."""
    rounded = load_adakron(make_model("gpt2").to(torch.bfloat16), saved).state_dict()
    exact = load_adakron(make_model("gpt2"), saved).state_dict()
    names = [name for name in exact if ".adakron." in name]
    assert names
    assert all(torch.equal(rounded[name].bfloat16(), exact[name].bfloat16()) for name in names)


def test_the_whole_model_can_be_saved_too(saved: Path, tmp_path: Path) -> None:
    """`save_pretrained` keeps the base under its own names: loaded without adapters, it is the base."""
    model = load_adakron(make_model("gpt2"), saved)
    model.save_pretrained(tmp_path / "whole")
    base = type(model).from_pretrained(tmp_path / "whole")
    assert torch.equal(logits_of(base), logits_of(make_model("gpt2")))
    assert torch.equal(logits_of(load_adakron(base, saved)), logits_of(model))


def test_another_adapter_replaces_the_first(saved: Path) -> None:
    """A model with adapters refuses a file; after `remove_adakron` it takes it."""
    model = add_adakron(make_model("gpt2"), SMALL)
    with pytest.raises(IntegrationError, match=r"call remove_adakron\(model\) first"):
        load_adakron(model, saved)
    load_adakron(remove_adakron(model), saved)


def refused(path: Path, model: nn.Module, message: str) -> None:
    """Loading is refused with one line, and changes no weight and no name."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(IntegrationError, match=message) as caught:
        load_adakron(model, path)
    assert "\n" not in str(caught.value)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_other_files_are_refused(saved: Path, tmp_path: Path) -> None:
    """Missing, cut and foreign files, and adapter files of the server, are each told apart."""
    data = saved.read_bytes()
    for name, content, message in (
        ("cut", data[:-1], "is not a whole safetensors file"),
        ("empty", b"", "is not a whole safetensors file"),
        ("pickle", b"\x80\x04" + bytes(100), "is not a whole safetensors file"),
        ("other", safetensors.torch.save({"a": torch.ones(1)}), "was not written by save_adakron"),
        ("server", make_adapter_bytes(), "an adapter file of the server: load it with import_adapter"),
    ):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, make_model("gpt2"), message)
    refused(tmp_path / "missing", make_model("gpt2"), "cannot be read: No such file")
    with pytest.raises(CheckpointError, match="not an AdaKron adapter"):
        checkpoint.parse(data)


def rewrite(path: Path, change: Callable[[dict[str, Tensor], dict], object]) -> None:
    """Change tensors and metadata of a file."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    tensors, metadata = safetensors.torch.load(data), json.loads(header["__metadata__"]["adakron_transformers"])
    change(tensors, metadata)
    text = metadata.get("text", json.dumps(metadata))
    path.write_bytes(safetensors.torch.save(tensors, metadata={"adakron_transformers": text}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop(f"{SITE}.adakron.up.bias"), "lacks transformer.h.0.mlp.c_proj.adakron.up.bias .1 in all"),
        (lambda t, m: t.update(extra=torch.ones(1)), "which has no extra .1 in all"),
        (lambda t, m: t.update({f"{SITE}.adakron.up.bias": torch.ones(3)}), r"up.bias is \[3\], in the model \[32\]"),
        (lambda t, m: t[f"{SITE}.adakron.up.bias"].fill_(torch.nan), "up.bias holds NaN or Inf"),
        (lambda t, m: t[f"{SITE}.base"].add_(1), "another base model: the weights of transformer.h.0.mlp"),
        (lambda t, m: m.update(model_type="llama"), "is for a model of type 'llama', not 'gpt2'"),
        (lambda t, m: m.update(format_version=9), "has format_version 9; this release reads 1"),
        (lambda t, m: m.update(text="{"), "has damaged metadata"),
        (lambda t, m: m.update(text="[]"), "has damaged metadata"),
        (lambda t, m: m.pop("config"), "has damaged metadata"),
        (lambda t, m: m["config"].update(r="many"), "has damaged metadata"),
        (lambda t, m: m["config"].update(r=13), "r=13 is not a multiple of q=4"),
        (lambda t, m: m["config"].update(r=16), r"down_a.weight is \[3, 32\], in the model \[4, 32\]"),
        (lambda t, m: m["config"].update(target_modules=["x.*.y"]), "has a name that ends in 'x.*.y'"),
    ],
)
def test_damaged_files_are_refused(change: Callable[[dict, dict], object], message: str, saved: Path) -> None:
    """A changed tensor, name, shape or field is named in one line."""
    rewrite(saved, change)
    refused(saved, make_model("gpt2"), message)


def test_files_for_another_model_are_refused(saved: Path, tmp_path: Path) -> None:
    """Another family, another base of the same shape and another number of labels are refused."""
    refused(saved, make_model("llama"), "is for a model of type 'gpt2', not 'llama'")
    refused(saved, make_model("gpt2", seed=1), "was trained on another base model: the weights of transformer.h.0")
    save_adakron(add_adakron(make_model("bert"), SMALL), tmp_path / "bert")
    model = make_model("bert")
    model.classifier = nn.Linear(32, 2)
    refused(tmp_path / "bert", model, r"classifier.weight is \[3, 32\], in the model \[2, 32\]")


def test_damaged_models_are_not_saved(tmp_path: Path) -> None:
    """A NaN in an adapter is named, and no file is written."""
    model = add_adakron(make_model("gpt2"), SMALL)
    model.get_submodule(SITE).adakron.up.bias.data[0] = torch.nan
    with pytest.raises(IntegrationError, match=r"the model: .*up.bias holds NaN or Inf"):
        save_adakron(model, tmp_path / "nan")
    with pytest.raises(IntegrationError, match="no AdaKron adapters"):
        save_adakron(make_model("gpt2"), tmp_path / "plain")
    assert not list(tmp_path.iterdir())
