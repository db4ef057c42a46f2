"""Read data sets of the Hugging Face Hub into a Table, with `datasets`."""

from collections.abc import Iterator
from contextlib import contextmanager

import datasets
from datasets import DatasetDict, load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import constants

from service.train.data.reading import hub_access
from service.train.data.reading.parquet_reader import make_table
from service.train.data.table import Table
from service.train.errors import DataError


def read_hub(name: str, split: str) -> Table:
    """Read one split of a data set: `glue/sst2`, `owner/name`, `owner/name/config`; `name:split` names another split.

    Raises DataError if there is no such data set or split, or the Hub cannot be reached.
    """
    path, _, wanted = name.partition(":")
    split = wanted or split
    unreachable = hub_access.find_obstacle()
    if unreachable is None:
        loaded = _load(path)
    else:
        with _offline():  # an earlier training may have cached the data set
            loaded = _load(path, unreachable)
    if split not in loaded:
        raise DataError(f"data set {path} has no split {split!r}; it has {', '.join(loaded)} (write {path}:SPLIT)")
    dataset = loaded[split]
    return make_table(f"{path}:{split}", tuple(dataset.column_names), dataset.to_list(), dataset.features)


def _load(path: str, unreachable: str | None = None) -> DatasetDict:
    # a/b is configuration b of data set a, as in glue/sst2, or the data set b of owner a
    parts = path.split("/")
    attempts = [parts, [path]] if len(parts) == 2 else [["/".join(parts[:2]), *parts[2:]]]
    failure: Exception | None = None
    for attempt in attempts:
        try:
            return load_dataset(*attempt)
        except DatasetNotFoundError as error:
            failure = error
        except (ValueError, OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            failure = error
            if unreachable is None:
                raise DataError(f"data set {path}: {_first_line(error)}") from error
    if unreachable:
        raise DataError(
            f"{path}: no such file, and {unreachable}, so no data set of this name can be fetched"
        ) from failure
    raise DataError(f"{path}: no such file, and no such data set on the Hub") from failure


@contextmanager
def _offline() -> Iterator[None]:
    """Set both libraries offline; they read their environment variables only when they are imported."""
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
