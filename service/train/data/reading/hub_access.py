"""Check once, and without slow imports, that the Hugging Face Hub answers."""

import os
from functools import cache
from pathlib import Path

import httpx2
import huggingface_hub
from huggingface_hub import constants

from service.train.errors import DataError

CONNECT_S = 5.0  # timeout of one request; the Hub's library would retry for half a minute


def require_data_set(name: str) -> None:
    """Raise DataError if the Hub does not answer and the data set `name` is not in the cache."""
    obstacle = find_obstacle()
    if obstacle and not is_cached(name.partition(":")[0]):
        raise DataError(f"{name}: no such file, and {obstacle}, so no data set of this name can be fetched")


def find_obstacle() -> str | None:
    """The reason why the Hub cannot be reached; None if it answers."""
    return _find_obstacle(huggingface_hub.is_offline_mode(), constants.ENDPOINT)


def is_cached(path: str) -> bool:
    """Whether the cache of `datasets` has a folder for the data set, or for the data set of this configuration."""
    cache_folder = Path(os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets").expanduser()
    parts = path.split("/")
    return any((cache_folder / "___".join(parts[:count])).is_dir() for count in range(1, len(parts) + 1))


@cache
def _find_obstacle(offline: bool, endpoint: str) -> str | None:
    if offline:
        return "HF_HUB_OFFLINE is set"
    try:
        huggingface_hub.get_session().head(endpoint, timeout=CONNECT_S)
    except (httpx2.HTTPError, OSError) as error:
        return f"the Hub at {endpoint} cannot be reached ({str(error) or type(error).__name__})"
    return None
