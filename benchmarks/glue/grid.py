"""Which runs there are: task x method x learning rate x seed, and the variants of AdaKron that docs/method.md compares."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from adapters.config import Pooling
from service.train.options import MetricName, Method, Overrides
from service.train.recipes import Initialisation

SMALL = ("cola", "stsb", "mrpc", "rte")
TASKS = (*SMALL, "sst2", "qnli", "qqp", "mnli")
METRICS: dict[str, MetricName] = {"cola": "matthews", "stsb": "pearson"}  # accuracy elsewhere
EPOCHS = {"cola": 10, "stsb": 10, "mrpc": 10, "rte": 15, "sst2": 2, "qnli": 2, "qqp": 1, "mnli": 1}
BATCH_SIZE = 32

ADAPTER_RATES = (5e-4, 1e-3, 2e-3, 4e-3)
RATES: dict[Method, tuple[float, ...]] = {  # four for every method: the same search
    "full": (2e-5, 5e-5, 1e-4, 2e-4),
    "head": (1e-3, 3e-3, 1e-2, 3e-2),
}


@dataclass(frozen=True)
class Run:
    """One training; its fields are those of its line in the results."""

    task: str
    method: Method
    seed: int
    learning_rate: float
    bottleneck: int = 48
    q: int = 4
    experts: int = 4
    layers: str = "all"
    initialisation: Initialisation = "identity"
    pooling: Pooling | None = None
    dropout: float = 0.0
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    epochs: int = 0
    batch_size: int = BATCH_SIZE

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Run":
        """From a line of the results, which has more fields."""
        return cls(**{name: record[name] for name in cls.__dataclass_fields__})

    @property
    def stack(self) -> tuple[str, int, float, int, int, bool]:
        """Runs of one stack see the same batches of one backbone."""
        return self.task, self.seed, self.dropout, self.epochs, self.batch_size, self.method == "full"

    @property
    def shape(self) -> tuple[Any, ...]:
        """Runs of one group have weights of the same names and shapes."""
        return self.method, self.bottleneck, self.q, self.experts, self.layers, self.pooling

    @property
    def metric(self) -> MetricName:
        """What the best epoch is chosen by, and the score."""
        return METRICS.get(self.task, "accuracy")

    @property
    def overrides(self) -> Overrides:
        """Of `adakron train`'s recipe, to train the same by itself."""
        return Overrides(
            initialisation=self.initialisation,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            epochs=self.epochs,
            patience=self.epochs,
            pooling=self.pooling,
            dropout=self.dropout,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class Contender:
    """A row of the table: a method with everything but task, seed and learning rate."""

    name: str
    settings: dict[str, Any]

    def runs(self, task: str, seed: int, epochs: int | None = None) -> list[Run]:
        """Its candidates on one task, trained for `epochs`, by default the task's."""
        method: Method = self.settings["method"]
        rates = RATES.get(method, ADAPTER_RATES)
        plain = Run(task, seed=seed, learning_rate=0.0, epochs=epochs or EPOCHS[task], **self.settings)
        return [replace(plain, learning_rate=rate) for rate in rates]


METHODS = (
    Contender("full", {"method": "full", "dropout": 0.1}),
    Contender("head", {"method": "head"}),
    Contender("pfeiffer48", {"method": "pfeiffer"}),
    Contender("adakron48", {"method": "adakron"}),
    Contender("adakron32", {"method": "adakron", "bottleneck": 32}),
    Contender("madakron48-partial", {"method": "madakron-partial"}),
    Contender("madakron48-full", {"method": "madakron-full"}),
)

STUDIES = (
    Contender("initialisation: published", {"method": "adakron", "initialisation": "published"}),
    Contender("initialisation: scaled", {"method": "adakron", "initialisation": "scaled"}),
    Contender("initialisation: unit", {"method": "adakron", "initialisation": "unit"}),
    Contender("q = 2", {"method": "adakron", "q": 2}),
    Contender("q = 8", {"method": "adakron", "q": 8}),
    Contender("layers: upper half", {"method": "adakron", "layers": "upper"}),
    Contender("pooling: cls", {"method": "adakron", "pooling": "cls"}),
    Contender("pooling: pooler", {"method": "adakron", "pooling": "pooler"}),
    Contender("label smoothing 0.1", {"method": "adakron", "label_smoothing": 0.1}),
    Contender("weight decay 0.1", {"method": "adakron", "weight_decay": 0.1}),
    Contender("r = 96", {"method": "adakron", "bottleneck": 96}),
    Contender("dropout 0.1", {"method": "adakron", "dropout": 0.1}),
    Contender("pfeiffer48, dropout 0.1", {"method": "pfeiffer", "dropout": 0.1}),
    Contender("full, dropout 0", {"method": "full", "dropout": 0.0}),
)

CONTENDERS = {contender.name: contender for contender in (*METHODS, *STUDIES)}


def all_runs(
    contenders: Iterable[Contender], tasks: Iterable[str], seeds: Iterable[int], epochs: int | None = None
) -> list[Run]:
    """Every run, in the order of seeds, then tasks."""
    order = product(seeds, tasks, contenders)
    return [run for seed, task, contender in order for run in contender.runs(task, seed, epochs)]


def stacks(runs: Iterable[Run], done: Iterable[Run], largest: int) -> list[list[list[Run]]]:
    """What is still to be run: stacks of groups of runs, at most `largest` runs in each."""
    finished = set(done)
    by_stack: dict[tuple[Any, ...], dict[tuple[Any, ...], list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in dict.fromkeys(runs):
        if run not in finished:
            by_stack[run.stack][run.shape].append(run)
    found: list[list[list[Run]]] = []
    for groups in by_stack.values():
        stack: list[list[Run]] = []
        for group in groups.values():
            if stack and sum(map(len, stack)) + len(group) > largest:
                found.append(stack)
                stack = []
            stack.append(group)
        found.append(stack)
    return found


def record(run: Run) -> dict[str, Any]:
    """A run as the fields of a line."""
    return asdict(run)
