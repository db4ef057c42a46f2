"""The backbone: on this machine, and what it is."""

from huggingface_hub import is_offline_mode
from huggingface_hub.errors import LocalEntryNotFoundError

from adapters.errors import BackboneError
from service.doctor.finding import Finding, failed, ok, warning
from service.doctor.setup import Setup


def backbone(setup: Setup) -> Finding:
    """It is found, its tokenizer can be read, and these are its digests. Nothing is downloaded."""
    name = setup.settings.backbone
    try:
        source = setup.backbone
    except BackboneError as error:
        if not isinstance(error.__cause__, LocalEntryNotFoundError):
            return failed(str(error), "set ADAKRON_BACKBONE to a folder with a BERT, or to one of the Hub")
        if is_offline_mode():
            return failed(
                f"{name} is not on this machine, and HF_HUB_OFFLINE forbids fetching it",
                f"unset HF_HUB_OFFLINE for the first start, or `hf download {name}` beforehand",
            )
        return warning(
            f"{name} is not on this machine: the first start fetches it from the Hub",
            f"`hf download {name}` fetches it beforehand",
        )
    try:
        source.encoder.encode(["a text"], max_length=8)
    except Exception as error:  # the tokenizers library raises nothing more particular
        return failed(f"{source.folder / 'tokenizer.json'} cannot be used: {error}", "save or fetch the backbone anew")
    identity = source.identity
    return ok(
        f"{name} in {source.folder}: {identity.num_layers} layers of {identity.hidden_size}, "
        f"weights {identity.weights_sha256[:12]}, tokenizer {identity.tokenizer_sha256[:12]}"
    )
