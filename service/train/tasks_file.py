"""tasks.toml: a table for each of several tasks that are trained together, with its data and its own options.

[rte]
train = "rte/train.jsonl"
validation = "rte/validation.jsonl"

[duplicates]
train = "questions.csv"
label_column = "is_duplicate"
metric = "f1"
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.train.data.reading.source import is_file
from service.train.errors import TrainingError, list_names, shorten
from service.train.options import DataOptions, TrainOptions

DATA = tuple(name for name in DataOptions.model_fields if name not in ("gate", "cross_validate"))
OWN = ("metric", "max_length", "truncation", "pooling", "class_weights", "label_smoothing", "backbone")
MAX_BYTES = 1024 * 1024


def read_tasks(path: Path, common: Mapping[str, Any]) -> list[TrainOptions]:
    """Read the trainings that `path` describes; `common` are the options of all, as the command line has them.

    A file that a table names is looked for beside `path`. Raises TrainingError, in one line that names the task.
    """
    tables = _read(path)
    if len(tables) < 2:
        raise TrainingError(
            f"{path}: {len(tables)} task; tasks are trained together from two on, one with --task and --train"
        )
    folder = common["output"] or Path("runs") / path.stem
    tasks = [_options(path, name, table, {**common, "output": folder / name}) for name, table in tables.items()]
    first, *others = tasks
    for other in others:
        if other.fit.backbone != first.fit.backbone:
            raise TrainingError(
                f"{path}: task {first.task} is for backbone {shorten(first.fit.backbone)}, task {other.task} for "
                f"{shorten(other.fit.backbone)}; tasks that are trained together have one"
            )
    return tasks


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TrainingError(f"{path}: over {MAX_BYTES:,} bytes; is it the right file (--tasks)?")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or error} (--tasks)") from None
    except UnicodeDecodeError:
        raise TrainingError(f"{path} is not UTF-8 (--tasks)") from None
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"{path} is not TOML: {error} (--tasks)") from None


def _options(path: Path, name: str, table: Any, common: Mapping[str, Any]) -> TrainOptions:
    where = f"{path}: task {shorten(name)}"
    if not isinstance(table, dict):
        raise TrainingError(f"{where} is not a table; write [{name[:40]}], and below it train = FILE")
    if unknown := sorted(set(table) - {*DATA, *OWN}):
        raise TrainingError(f"{where} has {list_names(unknown)}; a task has {list_names((*DATA, *OWN))}")
    if not table.get("train"):
        raise TrainingError(f"{where} has no data; name its file, as train = FILE")
    values = {**table, **{part: _locate(path, table[part]) for part in ("train", "validation") if part in table}}
    try:
        return TrainOptions.of(**{**common, **values, "task": name})
    except TrainingError as error:
        raise TrainingError(f"{where}: {error}") from None


def _locate(path: Path, source: Any) -> Any:
    """The file beside `path` that a table means, or `source` as it is: a data set of the Hub, or not a text."""
    if not isinstance(source, str):
        return source
    beside = path.parent / Path(source).expanduser()
    return str(beside) if is_file(source) or beside.exists() else source
