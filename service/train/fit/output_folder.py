"""The output folder of a training: its files, its plan, and the checkpoint from which a killed training resumes."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from safetensors import SafetensorError

from adapters.config import AdapterConfig
from service.train.data.load import TaskData
from service.train.errors import TrainingError
from service.train.options import PublishOptions, TrainOptions
from service.train.recipes import SERVABLE, Method

PLAN_FILE = "training.json"
ADAPTER_FILE = "adapter.safetensors"
REPORT_FILE = "report.html"
RESULT_FILE = "result.json"
CHECKPOINTS = "checkpoints"
MIN_FREE_BYTES = 1024 * 1024  # with less, the disk is full before the first checkpoint
_COMPLETE = ("trainer_state.json", "model.safetensors", "optimizer.pt", "scheduler.pt")


def make_plan(options: TrainOptions, data: TaskData, config: AdapterConfig) -> dict[str, JsonValue]:
    """Everything that the trained weights depend on; a resumed training must have the same plan."""
    fit = options.fit
    columns = {"text_column", "pair_column", "label_column", "label_columns"}
    return {
        "task": options.task,
        "method": fit.method,
        "experts": fit.experts,
        "recipe": asdict(fit.hyper_parameters),
        "adapter": config.model_dump(mode="json"),
        "columns": options.data.model_dump(mode="json", include=columns),
        "encoding": options.data.encoding,
        "gate": options.data.gate,
        "drop_duplicates": options.data.drop_duplicates,
        "class_weights": fit.class_weights,
        "train": data.train.provenance,
        "validation": data.validation.provenance,
        "dtype": options.publish.dtype,
        "seed": fit.seed,
        "mixed_precision": fit.mixed_precision,
        "evaluate_every": fit.evaluate_every,
    }


def is_finished(folder: Path, method: Method) -> bool:
    """Whether the folder has the file that a training writes last."""
    return (folder / (ADAPTER_FILE if method in SERVABLE else RESULT_FILE)).exists()


def read_numbers(folder: Path) -> dict[str, Any]:
    """The content of result.json. Raises TrainingError if it is missing or damaged."""
    path = folder / RESULT_FILE
    try:
        numbers: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise TrainingError(f"{path} is missing or damaged: train again in another --output") from None
    return numbers


def check_folder(folder: Path, options: PublishOptions) -> None:
    """Raise TrainingError if the folder holds a training and the options neither resume nor overwrite it.

    The message names the training in the folder and the options that continue. Nothing is written.
    """
    if options.overwrite or options.resume:
        return
    if found := _describe_finished(folder):
        raise TrainingError(
            f"{folder} holds a finished training ({found}): --overwrite replaces it, --output names another folder, "
            "--resume publishes it again without training"
        )
    if (checkpoint := last_checkpoint(folder)) is not None:
        raise TrainingError(
            f"{folder} holds an unfinished training ({_day(checkpoint)}): continue it with --resume, replace it with "
            "--overwrite, or choose another --output"
        )


def _describe_finished(folder: Path) -> str | None:
    """Task, score and day of the finished training in `folder`, if there is one."""
    adapter, result = folder / ADAPTER_FILE, folder / RESULT_FILE
    try:
        numbers = json.loads(result.read_bytes())
        if not adapter.exists() and numbers["method"] in SERVABLE:
            return None  # killed between its last two files
        metric = str(numbers["metric"])
        return f"task {numbers['task']}, {metric} {numbers['metrics'][metric]:.4f}, {_day(result)}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{ADAPTER_FILE}, {_day(adapter)}" if adapter.exists() else None


def _day(path: Path) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(path.stat().st_mtime))


def prepare_folder(folder: Path, plan: Mapping[str, JsonValue], method: Method, *, resume: bool) -> None:
    """Create `folder` and write the plan into it; unless `resume`, remove the files of an earlier training.

    Raises TrainingError if the folder cannot be written, or if the training to resume has another plan.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(MIN_FREE_BYTES))
    except OSError as error:
        raise TrainingError(
            f"output folder {folder} cannot be written: {error.strerror or error}; name another --output"
        ) from error
    finished, started = is_finished(folder, method), last_checkpoint(folder) is not None
    if resume and (finished or started):
        _check_plan(folder, plan)
        return
    with report_full_disk(folder):
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        for name in (ADAPTER_FILE, RESULT_FILE, REPORT_FILE):
            (folder / name).unlink(missing_ok=True)
        write_atomically(folder / PLAN_FILE, json.dumps(plan, indent=2).encode())


@contextmanager
def report_full_disk(folder: Path) -> Iterator[None]:
    """Turn a failed write into a TrainingError with the remedy. Complete checkpoints stay in the folder."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        cause = getattr(error, "strerror", None) or str(error).splitlines()[0]
    except RuntimeError as error:
        if "inline_container" not in str(error):  # the file in which torch writes; it has no error class of its own
            raise
        cause = "a checkpoint could not be written"
    else:
        return
    raise TrainingError(
        f"{folder} cannot be written: {cause}; free some space, then run the same command with --resume"
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint, if there is one."""
    found = [path for path in (folder / CHECKPOINTS).glob("checkpoint-*") if path.name[11:].isdecimal()]
    complete = [path for path in found if all((path / name).is_file() for name in _COMPLETE)]
    return max(complete, key=lambda path: int(path.name[11:]), default=None)


def _check_plan(folder: Path, plan: Mapping[str, JsonValue]) -> None:
    try:
        before = json.loads((folder / PLAN_FILE).read_bytes())
    except (OSError, ValueError):
        raise TrainingError(f"{folder / PLAN_FILE} is missing or damaged: train in another --output") from None
    now = json.loads(json.dumps(plan))
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise TrainingError(
            f"--resume: {', '.join(changed)} differ from those of the training in {folder} (see {PLAN_FILE}); resume "
            "with the same options and data, or train in another --output"
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is complete, or absent."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)  # only its owner may read a temporary file
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
