"""Finding and reading a backbone."""

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM

from adapters.config import DEFAULT_BACKBONE
from adapters.errors import BackboneError
from adapters.source import LoadedBackbone, load_backbone, locate
from tests.tiny import make_tiny_backbone

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
    """What is neither a folder nor on the Hub is a BackboneError that names it."""
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


def test_missing_weights_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    """Weights that lack a layer are refused: nothing is ever filled with random numbers."""
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    save_file({key: value for key, value in weights.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(BackboneError, match="lacks weights"):
        load_backbone(str(folder))


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
    """Other weights are another backbone, whatever the name."""
    other = load_backbone(str(make_tiny_backbone(tmp_path / "tiny-bert", seed=1)))
    assert other.identity.weights_sha256 != tiny.identity.weights_sha256
    assert other.identity.tokenizer_sha256 == tiny.identity.tokenizer_sha256
