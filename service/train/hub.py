"""Data sets of the Hugging Face Hub, and Parquet files -> Table, through `datasets`."""

import re
import tempfile
from pathlib import Path
from typing import Any

import datasets
from datasets import ClassLabel, Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetNotFoundError

from service.train.errors import DataError
from service.train.table import Table

HUB_NAME = re.compile(r"(?P<path>[\w.-]+(/[\w.-]+){0,2})(:(?P<split>[\w.]+))?", re.ASCII)


def read_hub(name: str, split: str) -> Table:
    """One split of a data set: `glue/sst2`, `owner/name`, `owner/name/config`; `name:split` asks for another split.

    Raises DataError where there is no such data set or split, or the Hub cannot be reached.
    """
    match = HUB_NAME.fullmatch(name)
    if match is None:
        raise DataError(f"{name}: no such file, and no name of a data set either")
    path, split = match["path"], match["split"] or split
    loaded = _load(path, path.split("/"))
    if split not in loaded:
        raise DataError(f"data set {path} has no split {split!r}; it has {', '.join(loaded)} (write {path}:SPLIT)")
    return _table(f"{path}:{split}", loaded[split])


def _load(path: str, parts: list[str]) -> DatasetDict:
    # a/b is configuration b of data set a, as in glue/sst2, or else the data set b of owner a
    attempts = [parts, [path]] if len(parts) == 2 else [["/".join(parts[:2]), *parts[2:]]]
    for attempt in attempts:
        try:
            return load_dataset(*attempt)
        except DatasetNotFoundError:
            continue
        except (ValueError, OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            raise DataError(f"data set {path}: {_first_line(error)}") from error
    raise DataError(f"{path}: no such file, and no such data set on the Hub")


def read_parquet(path: Path) -> Table:
    """Read a Parquet file; class names that `datasets` wrote into it are used.

    Raises DataError where it is none.
    """
    with tempfile.TemporaryDirectory() as cache:  # never the shared cache: a file may change under its name
        try:
            dataset = Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True)
        except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
            cause = error.__cause__ or error
            raise DataError(
                f"{path.name}: not a Parquet file, or it was cut; fetch it again ({_first_line(cause)})"
            ) from None
        return _table(path.name, dataset)


def _table(name: str, dataset: Dataset) -> Table:
    class_names = {}
    for column, feature in dataset.features.items():
        inner = getattr(feature, "feature", feature)  # a list of classes: its items' feature
        if isinstance(inner, ClassLabel):
            class_names[column] = tuple(inner.names)
    records: list[tuple[int, dict[str, Any]]] = list(enumerate(dataset.to_list(), start=1))
    return Table(name, tuple(dataset.column_names), records, unit="row", class_names=class_names)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
