"""Which runs there are: task x contender x candidate x seed; what docs/method.md compares."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from adapters.config import Pooling
from benchmarks.glue.variants import VARIANTS
from service.train.options import MetricName
from service.train.recipes import Initialisation, Method

SMALL = ("cola", "stsb", "mrpc", "rte")
TASKS = (*SMALL, "sst2", "qnli", "qqp", "mnli")
METRICS: dict[str, MetricName] = {"cola": "matthews", "stsb": "pearson"}  # accuracy elsewhere
EPOCHS = {"cola": 10, "stsb": 8, "mrpc": 8, "rte": 10, "sst2": 2, "qnli": 2, "qqp": 1, "mnli": 1}
BATCH_SIZE = 32

# three for every method, around the best of a first look at CoLA: the same search for all. lora,
# prefix-tuning and bitfit had no look: their rates are usual ones.
ADAPTER_RATES = (7e-4, 1.5e-3, 3e-3)
RATES: dict[Method, tuple[float, ...]] = {
    "full": (3e-5, 8e-5, 2e-4),
    "head": (1e-3, 5e-3, 2e-2),
    "lora": (4e-4, 1e-3, 2.5e-3),
    "prefix-tuning": (1e-3, 5e-3, 2e-2),
    "bitfit": (7e-4, 2e-3, 5e-3),
}
# Methods whose parts are linear layers at AdaKron's site or in the encoder train side by side; each run of another
# method, and each of a variant, is a stack of its own, in `adakron train`'s loop.
SIDE_BY_SIDE: tuple[Method, ...] = ("adakron", "madakron-partial", "madakron-full", "pfeiffer", "full", "head")


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
    variant: str = ""  # a name in VARIANTS
    merged_seeds: int = 0  # trainings that are averaged to one adapter; 0: one training, as it is

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Run":
        """Make a Run from a line of the results, which has more fields; an older line lacks the last ones."""
        return cls(**{name: record[name] for name in cls.__dataclass_fields__ if name in record})

    @property
    def stack(self) -> tuple[Any, ...]:
        """Runs of one stack see the same batches, of one backbone; one that learns is not shared."""
        if self.method not in SIDE_BY_SIDE or self.variant or self.merged_seeds:
            return (self,)
        own = (self.method, self.pooling) if self.method == "full" else ()
        return self.task, self.seed, self.dropout, self.epochs, self.batch_size, own

    @property
    def shape(self) -> tuple[Any, ...]:
        """Runs of one group have weights of the same names and shapes."""
        return self.method, self.bottleneck, self.q, self.experts, self.layers

    @property
    def metric(self) -> MetricName:
        """The metric that chooses the best epoch and is the score."""
        return METRICS.get(self.task, "accuracy")

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """The options of `adakron train` that change its recipe into this run's."""
        return {
            "initialisation": self.initialisation,
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "patience": self.epochs,
            "pooling": self.pooling,
            "dropout": self.dropout,
            "weight_decay": self.weight_decay,
        }


@dataclass(frozen=True)
class Contender:
    """A row of a table: a method, its fixed settings, and the two settings that are tried at every learning rate."""

    name: str
    method: Method
    settings: dict[str, Any]
    tried: tuple[dict[str, Any], ...] = ({},)
    rates: tuple[float, ...] = ()  # instead of the method's

    def runs(self, task: str, seed: int, epochs: int | None = None) -> list[Run]:
        """Its candidates on one task, trained for `epochs`, by default the task's."""
        rates = self.rates or RATES.get(self.method, ADAPTER_RATES)
        return [
            Run(task, self.method, seed, rate, epochs=epochs or EPOCHS[task], **self.settings, **tried)
            for tried in self.tried
            for rate in rates
        ]


STARTS = ({"initialisation": "identity"}, {"initialisation": "unit"})
PLAIN_STARTS = ({"initialisation": "identity"}, {"initialisation": "published"})
DECAYS = ({"weight_decay": 0.01}, {"weight_decay": 0.1})
DROPOUTS = ({"dropout": 0.0}, {"dropout": 0.1})  # a bias has no weight decay, and starts where the backbone has it

# the rows of the paper's and the poster's tables, with the hyper-parameters that give their numbers of parameters
METHODS = (
    Contender("full", "full", {"dropout": 0.1}, DECAYS),
    Contender("head", "head", {}, DECAYS),
    Contender("houlsby24", "houlsby", {"bottleneck": 24}, PLAIN_STARTS),
    Contender("bitfit", "bitfit", {}, DROPOUTS),
    Contender("prefix-tuning", "prefix-tuning", {}, PLAIN_STARTS),
    Contender("lora", "lora", {}, DECAYS),
    Contender("unipelt-ap", "unipelt-ap", {}, PLAIN_STARTS),
    Contender("unipelt-apl", "unipelt-apl", {}, PLAIN_STARTS),
    Contender("adamix48", "adamix", {}, PLAIN_STARTS),
    Contender("pfeiffer48", "pfeiffer", {}, PLAIN_STARTS),
    Contender("pfeiffer32", "pfeiffer", {"bottleneck": 32}, PLAIN_STARTS),
    Contender("adakron48", "adakron", {}, STARTS),
    Contender("adakron32", "adakron", {"bottleneck": 32}, STARTS),
    Contender("madakron48-partial", "madakron-partial", {}, STARTS),
    Contender("madakron48-full", "madakron-full", {}, STARTS),
)

UNIT = {"initialisation": "unit"}
STUDIES = (
    Contender("start: published", "adakron", {"initialisation": "published"}),
    Contender("start: identity", "adakron", {"initialisation": "identity"}),
    Contender("start: scaled", "adakron", {"initialisation": "scaled"}),
    Contender("start: unit", "adakron", UNIT),
    Contender("q = 2", "adakron", {**UNIT, "q": 2}),
    Contender("q = 8", "adakron", {**UNIT, "q": 8}),
    Contender("layers: upper half", "adakron", {**UNIT, "layers": "upper"}),
    Contender("r = 96", "adakron", {**UNIT, "bottleneck": 96}),
    Contender("pooling: cls", "adakron", {**UNIT, "pooling": "cls"}),
    Contender("pooling: pooler", "adakron", {**UNIT, "pooling": "pooler"}),
    Contender("label smoothing 0.1", "adakron", {**UNIT, "label_smoothing": 0.1}),
    Contender("weight decay 0.1", "adakron", {**UNIT, "weight_decay": 0.1}),
    Contender("dropout 0.1", "adakron", {**UNIT, "dropout": 0.1}),
)

# beside "start: unit", with its two lower rates: of more, few were the best ones
VARIED = (
    *(Contender(name, "adakron", {**UNIT, "variant": name}, rates=ADAPTER_RATES[:2]) for name in VARIANTS),
    Contender("3 merged seeds", "adakron", {**UNIT, "merged_seeds": 3}, rates=ADAPTER_RATES[:2]),
)

CONTENDERS = {contender.name: contender for contender in (*METHODS, *STUDIES, *VARIED)}


def all_runs(
    contenders: Iterable[Contender], tasks: Iterable[str], seeds: Iterable[int], epochs: int | None = None
) -> list[Run]:
    """Every run, in the order of seeds, then tasks."""
    order = product(seeds, tasks, contenders)
    return [run for seed, task, contender in order for run in contender.runs(task, seed, epochs)]


def stacks(runs: Iterable[Run], done: Iterable[Run], largest: int) -> list[list[list[Run]]]:
    """Return the runs that are not done, in stacks of groups with at most `largest` runs each."""
    finished = set(done)
    by_stack: dict[tuple[Any, ...], dict[tuple[Any, ...], list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in dict.fromkeys(runs):
        if run not in finished:
            by_stack[run.stack][run.shape].append(run)
    found: list[list[list[Run]]] = []
    for groups in by_stack.values():
        stack: list[list[Run]] = []
        for members in groups.values():
            for group in (members[at : at + largest] for at in range(0, len(members), largest)):
                if stack and sum(map(len, stack)) + len(group) > largest:
                    found.append(stack)
                    stack = []
                stack.append(group)
        found.append(stack)
    return found


def record(run: Run) -> dict[str, Any]:
    """A run as the fields of a line."""
    return asdict(run)
