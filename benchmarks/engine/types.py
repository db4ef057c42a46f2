"""The types on a CPU: scores of the five shipped tasks, speed and memory in each.

Every type computes the validation texts of each task in batches of 32 with one engine thread; the types take turns,
batch by batch. Speed is by the processor time of the process, which other programs disturb less than the clock.

    ADAKRON_GLUE_DIR=... python -m benchmarks.engine.types

Writes benchmarks/results/types.json. `ADAKRON_DTYPE=auto` is bfloat16 on a CPU with AMX because its target holds.
"""

import argparse
import time
from dataclasses import dataclass, field

import numpy as np
import torch

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.quantized import load_packed
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import Encoding, TextInput
from adapters.config import DEFAULT_BACKBONE
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from benchmarks.report import Target, report
from benchmarks.sentences import split_rows
from service.engine.engine import Engine
from service.publishing.shipped import shipped_adapters
from service.train.evaluation.metrics import compute_metrics

TASKS = {  # task: split, metric
    "sst2": ("validation", "accuracy"),
    "stsb": ("validation", "pearson"),
    "mrpc": ("test", "accuracy"),
    "cola": ("validation", "matthews"),
    "rte": ("validation", "accuracy"),
}
BATCH = 32
TYPES = ("float32", "bfloat16", "int8")
MOST_LOST = 0.2  # points of a score, by the type that `auto` may choose


@dataclass
class Typed:
    """One type's engine, and what it has computed."""

    name: str
    loaded: LoadedBackbone
    scores: dict[str, float] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    num_tokens: int = 0

    def __post_init__(self) -> None:
        backbone = self.loaded.backbone
        self.bank = AdapterBank(self.loaded.identity.hidden_size, "cpu", backbone.dtype)
        self.engine = Engine(backbone, self.bank, num_threads=1)
        self.engine_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors(backbone))

    def compute(self, encodings: list[Encoding]) -> np.ndarray:
        """Return the logits of a batch, and count its tokens and its processor time."""
        started = time.process_time()
        (logits,) = self.engine.forward(BatchTokens.of([(0, encodings)]))
        self.cpu_seconds += time.process_time() - started
        self.num_tokens += sum(map(len, encodings))
        return logits


def tensors(backbone: torch.nn.Module) -> list[torch.Tensor]:
    """Return the weights of a packed backbone, each once: parameters, and the plain attributes of its layers."""
    own = [value for module in backbone.modules() for value in vars(module).values() if isinstance(value, torch.Tensor)]
    return [*backbone.parameters(), *own]


def measure_task(task: str, adapter: Adapter, typed: list[Typed]) -> None:
    """Compute the task's validation texts in all types, batch by batch in turn, and score them."""
    split, metric = TASKS[task]
    rows = split_rows(f"{task}/{split}")
    inputs: list[TextInput] = [
        row["sentence"] if "sentence" in row else (row["sentence1"], row["sentence2"]) for row in rows
    ]
    labels = adapter.metadata.task.labels
    targets = np.array([labels.index(row["label"]) if labels else row["label"] for row in rows])
    encodings = typed[0].loaded.encoder.encode_for(adapter.metadata.task, inputs)
    logits: dict[str, list[np.ndarray]] = {one.name: [] for one in typed}
    for one in typed:
        one.bank.write(0, adapter)
    for start in range(0, len(encodings), BATCH):
        for one in typed:
            logits[one.name].append(one.compute(encodings[start : start + BATCH]))
    for one in typed:
        found = compute_metrics(np.concatenate(logits[one.name]), targets, adapter.metadata.task.type)
        one.scores[task] = 100 * float(found[metric])


def main() -> None:
    """Measure, print, write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    typed = [Typed(name, load_packed(DEFAULT_BACKBONE, dtype=name)) for name in TYPES]
    for one in typed:  # oneDNN generates code when it meets a shape
        one.bank.write(0, checkpoint.parse(shipped_adapters()["sst2"]))
        one.engine.forward(BatchTokens.of([(0, one.loaded.encoder.encode(["a text"], max_length=16))]))
    for task, data in shipped_adapters().items():
        if task in TASKS:
            measure_task(task, checkpoint.parse(data, typed[0].loaded.identity), typed)
    splits = ", ".join(f"{task} {split} ({metric})" for task, (split, metric) in TASKS.items())
    rows, targets, notes = [], [], [f"Scores in points: {splits}."]
    plain = typed[0]
    metadata = checkpoint.parse(shipped_adapters()["sst2"]).metadata
    for one in typed:
        speed = one.num_tokens / one.cpu_seconds
        rows.append(
            {"type": one.name}
            | {task: round(one.scores[task], 3) for task in TASKS}
            | {
                "tokens/CPU s": speed,
                "over float32": speed * plain.cpu_seconds / plain.num_tokens,
                "backbone MB": one.engine_bytes / 1e6,
                "adapter KB": one.bank.num_bytes(metadata.num_parameters, 2) / 1e3,
            }
        )
        if one is not plain:
            lost = max(plain.scores[task] - one.scores[task] for task in TASKS)
            claim = f"{one.name}: most points that a task loses"
            if one.name == "bfloat16":
                targets.append(Target(claim, lost, "at most", MOST_LOST))
            else:
                notes.append(f"{claim}: {lost:.2f}")
        one.engine.close()
    report("types", {"threads": 1, "batch": BATCH}, rows, targets, notes)


if __name__ == "__main__":
    main()
