"""Finding and reading a backbone."""

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM
from transformers.activations import ACT2FN

from adapters.backbone.files import locate
from adapters.backbone.layers import Dense
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.config import DEFAULT_BACKBONE
from adapters.errors import BackboneError
from tests.support.tiny import make_tiny_backbone

PUBLISHED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_default_backbone_is_the_published_one(real: LoadedBackbone) -> None:
    """The default backbone comes from its package, offline, with the published weights' SHA-256."""
    assert real.identity.weights_sha256 == PUBLISHED_SHA256
    assert real.identity.name == DEFAULT_BACKBONE
    assert (real.identity.hidden_size, real.identity.num_layers) == (384, 6)
    assert real.backbone.has_pooler


def test_hub_name(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up on the Hub: here in its cache, with the network off."""
    snapshot = tmp_path / "models--acme--tiny-bert" / "snapshots" / ("a" * 40)
    shutil.copytree(tiny_folder, snapshot)
    refs = tmp_path / "models--acme--tiny-bert" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert locate("acme/tiny-bert") == snapshot
    assert load_backbone("acme/tiny-bert").identity.name == "acme/tiny-bert"


@pytest.mark.parametrize("name", ["acme/not-there", "no such model!", "./no-such-folder"])
def test_unknown_name_is_one_clear_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is neither a folder nor on the Hub is a BackboneError that quotes it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match="is no folder"):
        load_backbone(name)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_file_is_named(tiny_folder: Path, tmp_path: Path, file: str) -> None:
    """A folder without one of the three files says which, and how to make it."""
    shutil.copytree(tiny_folder, tmp_path / "copy")
    (tmp_path / "copy" / file).unlink()
    with pytest.raises(BackboneError, match=f"no {file}.*save_pretrained"):
        load_backbone(str(tmp_path / "copy"))


def test_other_model_types_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    """A model that is no BERT is refused by its config."""
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "roberta"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match="not a BERT"):
        load_backbone(str(folder))


def test_an_activation_that_is_not_known_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    """The error quotes the unknown activation and lists the known ones, which compute what transformers computes."""
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text()) | {"hidden_act": "maxout"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"'maxout'.*gelu, gelu_new"):
        load_backbone(str(folder))
    x = torch.linspace(-6, 6, 1001)
    for name in ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"):
        torch.testing.assert_close(Dense(1, 1, activation=name).activation(x), ACT2FN[name](x), rtol=1e-5, atol=1e-6)


def test_missing_weights_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    """Weights that lack a layer are refused: nothing is ever filled with random numbers."""
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    save_file({key: value for key, value in weights.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(BackboneError, match="lacks weights"):
        load_backbone(str(folder))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "Invalid JSON"),
        ("[]", "object"),
        ('{"model_type": "bert", "hidden_size": "wide"}', "hidden_size: .*integer"),
        ('{"model_type": "bert", "num_hidden_layers": 0}', "num_hidden_layers: .*greater than 0"),
        ("{}", "not a BERT"),
    ],
)
def test_a_config_that_is_none_is_refused(tiny_folder: Path, tmp_path: Path, config: str, message: str) -> None:
    """A config that is not JSON, or not a BERT's, is a one-line error that names the file."""
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    (folder / "config.json").write_text(config)
    with pytest.raises(BackboneError, match=f"config.json.*{message}|{message}.*config.json"):
        load_backbone(str(folder))


def test_weights_of_another_shape_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    """A config with more positions than the weights have is an error with both shapes."""
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text()) | {"max_position_embeddings": 256}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"position_embeddings.weight is \[128, 32\].*\[256, 32\]"):
        load_backbone(str(folder))


def test_a_cut_file_of_weights_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    """A truncated weights file is an error that says so."""
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BackboneError, match=r"model\.safetensors cannot be read"):
        load_backbone(str(folder))


def test_old_names_of_weights(tiny: LoadedBackbone, tiny_folder: Path, tmp_path: Path) -> None:
    """LayerNorm's `gamma` and `beta`, as in bert-base-uncased of the Hub, are its weight and bias; half precision is
    read as float32."""
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")

    def old(name: str) -> str:
        return "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    weights = load_file(folder / "model.safetensors")
    save_file({old(name): tensor.half() for name, tensor in weights.items()}, folder / "model.safetensors")
    loaded = load_backbone(str(folder)).backbone
    for name, tensor in tiny.backbone.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float()), name


def test_backbone_without_a_pooler(tmp_path: Path) -> None:
    """Weights without a pooler load, and the backbone says that it has none."""
    folder = make_tiny_backbone(tmp_path / "no-pooler", pooler=False)
    assert not load_backbone(str(folder)).backbone.has_pooler


def test_checkpoints_with_a_task_head_load(tiny_folder: Path, tmp_path: Path) -> None:
    """A masked language model's checkpoint, whose names start with `bert.`, gives the encoder."""
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    model = BertForMaskedLM(BertConfig.from_pretrained(tiny_folder))
    model.save_pretrained(folder)
    loaded = load_backbone(str(folder))
    assert torch.equal(loaded.backbone.word.weight, model.bert.embeddings.word_embeddings.weight)


def test_identity_follows_the_files(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Other weights are another backbone, even under the same name."""
    other = load_backbone(str(make_tiny_backbone(tmp_path / "tiny-bert", seed=1)))
    assert other.identity.weights_sha256 != tiny.identity.weights_sha256
    assert other.identity.tokenizer_sha256 == tiny.identity.tokenizer_sha256
