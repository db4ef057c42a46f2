"""One training, timed, in a process of its own: `adakron train`, or transformers' Trainer on padded batches.

    python -m benchmarks.engine.training_run '{"folder": "...", "method": "padded", ...}'

The argument is a Setup; a Measured is printed as the last line.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from unittest.mock import patch

import datasets
import torch
from rich.console import Console
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from adapters.backbone.files import locate
from service.train import pipeline
from service.train.options import TrainOptions
from service.train.prepare import quieten_libraries
from service.train.recipes import Method

MAX_LENGTH = 128


@dataclass(frozen=True)
class Setup:
    """The training to run; `folder` has train.jsonl and validation.jsonl."""

    folder: str
    backbone: str
    batch_size: int
    warmup: int  # steps before the clock starts
    device: str = "cpu"
    dtype: str = "float32"
    method: Method | Literal["padded"] = "adakron"  # of `adakron train`; padded: all weights, by Trainer alone
    padding: str = "longest"  # of "padded"; or "max_length"
    sampling: str = "random"  # of "padded"; or "group_by_length"


@dataclass(frozen=True)
class Measured:
    """The steps after the warm-up. Bytes: of the process on a CPU, of torch's tensors on CUDA."""

    steps: int
    texts: int
    tokens: int  # without padding
    positions: int  # with it
    seconds: float
    cpu_s: float  # of all threads
    bytes_before: int  # libraries loaded, but neither data nor weights
    bytes_peak: int  # the most from there to the end of the last step
    parameters: int  # that are trained


@dataclass(frozen=True)
class BatchSize:
    """The numbers of texts and tokens of one batch."""

    texts: int
    tokens: int
    positions: int


class CountingCollator:
    """Another collator, and what its batches held, in the order of the steps."""

    def __init__(self, collate: Callable[[list[Any]], dict[str, Any]]) -> None:
        self._collate = collate
        self.sizes: list[BatchSize] = []

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        """Collate `rows` and note the size of the batch."""
        batch = self._collate(rows)
        self.sizes.append(size_of(batch))
        return batch


def size_of(batch: dict[str, Any]) -> BatchSize:
    """Return the lengths of a packed batch (lengths), or of a padded one (attention_mask [N, longest])."""
    mask: Tensor | None = batch.get("attention_mask")
    if mask is None:
        num_tokens = sum(batch["lengths"])
        return BatchSize(len(batch["lengths"]), num_tokens, num_tokens)
    return BatchSize(len(mask), int(mask.sum()), mask.numel())


class Finished(Exception):
    """Raised after the last step: evaluation, checkpoint and file are not measured."""


class Clock(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Measures from the end of step `warmup` to the end of the last step, and raises Finished then."""

    def __init__(self, warmup: int, memory: "Memory") -> None:
        self._warmup, self._memory = warmup, memory
        self._started = self._cpu_started = 0.0
        self.seconds = self.cpu_s = float("nan")
        self.bytes_peak = self.steps = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Trainer calls this after each step."""
        if state.global_step == self._warmup:
            self._memory.wait()
            self._started, self._cpu_started = time.perf_counter(), time.process_time()
        if state.global_step == state.max_steps:
            self._memory.wait()
            self.seconds, self.cpu_s = time.perf_counter() - self._started, time.process_time() - self._cpu_started
            self.bytes_peak, self.steps = self._memory.peak(), state.global_step
            raise Finished


class Memory:
    """Peak memory: on a CPU the resident set of this process, with all libraries; on CUDA torch's tensors."""

    def __init__(self, device: str) -> None:
        self._on_cuda = device == "cuda"
        self.before = torch.cuda.memory_allocated() if self._on_cuda else _status_bytes("VmRSS")
        if not self._on_cuda:
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: imports may have needed more

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self._on_cuda:
            torch.cuda.synchronize()

    def peak(self) -> int:
        """The most so far; the kernel's count of what is resident may be some pages behind."""
        return torch.cuda.max_memory_allocated() if self._on_cuda else max(self.before, _status_bytes("VmHWM"))


def _status_bytes(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def measured(sizes: Sequence[BatchSize], warmup: int, clock: Clock, before: int, parameters: int) -> Measured:
    """The batches after the first `warmup`, to the last step; a loader may be ahead of it."""
    counted = sizes[warmup : clock.steps]
    return Measured(
        steps=len(counted),
        texts=sum(size.texts for size in counted),
        tokens=sum(size.tokens for size in counted),
        positions=sum(size.positions for size in counted),
        seconds=clock.seconds,
        cpu_s=clock.cpu_s,
        bytes_before=before,
        bytes_peak=clock.bytes_peak,
        parameters=parameters,
    )


def train(setup: Setup, output: Path) -> Measured:
    """One epoch."""
    quieten_libraries()
    memory = Memory(setup.device)
    clock = Clock(setup.warmup, memory)
    trainers = []

    def watch(trainer: Trainer) -> Trainer:
        trainer.data_collator = CountingCollator(trainer.data_collator)
        trainer.add_callback(clock)
        trainers.append(trainer)
        return trainer

    with suppress(Finished):
        if setup.method == "padded":
            watch(padded_trainer(setup, output)).train()
        else:
            train_packed(setup, setup.method, output, watch)
    (trainer,) = trainers
    trained = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    return measured(trainer.data_collator.sizes, setup.warmup, clock, memory.before, trained)


def train_packed(setup: Setup, method: Method, output: Path, watch: Callable[[Trainer], Trainer]) -> None:
    """`adakron train` from the files on, its trainer watched."""
    make_trainer = pipeline.make_trainer
    options = TrainOptions.of(
        task="benchmark",
        train=f"{setup.folder}/train.jsonl",
        validation=f"{setup.folder}/validation.jsonl",
        output=output,
        method=method,
        epochs=1,
        batch_size=setup.batch_size,
        max_length=MAX_LENGTH,
        mixed_precision="bf16" if setup.dtype == "bfloat16" else "no",
        backbone=setup.backbone,
        device=setup.device,
    )
    with patch.object(pipeline, "make_trainer", lambda *args, **kwargs: watch(make_trainer(*args, **kwargs))):
        pipeline.train(options, Console(quiet=True))


def padded_trainer(setup: Setup, output: Path) -> Trainer:
    """Train BertForSequenceClassification with Trainer; options that Setup does not set have their defaults."""
    folder = locate(setup.backbone)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [json.loads(line) for line in Path(setup.folder, "train.jsonl").read_text().splitlines()]
    labels = sorted({row["label"] for row in rows})

    def encode(columns: dict[str, list[str]]) -> dict[str, Any]:
        texts = [columns[name] for name in ("sentence", "sentence1", "sentence2") if name in columns]
        encoded = tokenizer(*texts, truncation=True, max_length=MAX_LENGTH)
        return {**encoded, "label": [labels.index(label) for label in columns["label"]]}

    table = datasets.Dataset.from_list(rows)
    arguments = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=1,
        per_device_train_batch_size=setup.batch_size,
        train_sampling_strategy=setup.sampling,
        bf16=setup.dtype == "bfloat16",
        use_cpu=setup.device == "cpu",
        dataloader_pin_memory=setup.device != "cpu",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=BertForSequenceClassification.from_pretrained(folder, num_labels=len(labels)),
        args=arguments,
        train_dataset=table.map(encode, batched=True, remove_columns=table.column_names),
        data_collator=DataCollatorWithPadding(tokenizer, padding=setup.padding, max_length=MAX_LENGTH),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        print(json.dumps(asdict(train(Setup(**json.loads(sys.argv[1])), Path(temporary)))))
