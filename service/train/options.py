"""TrainOptions: everything that one training is told. Frozen; the command line makes it, and so may a program."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from adapters.config import MAX_LABEL_CHARS, Pooling, TaskType, TrainedTruncation, is_label_text
from service.core import find_name_fault
from service.train.errors import TrainingError
from service.train.recipes import CHANGES, RECIPES, Initialisation, Method, Recipe, RecipeName

FileDtype = Literal["float32", "float16"]
MixedPrecision = Literal["no", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda"]
SERVABLE: tuple[Method, ...] = ("adakron", "madakron-partial", "madakron-full")  # whose result is an AdaKron adapter
ClassWeights = Literal["none", "balanced"]
MetricName = Literal["accuracy", "f1", "matthews", "pearson", "spearman", "micro_f1"]

METRICS: dict[TaskType, tuple[MetricName, ...]] = {  # the first is the one that training stops by
    "single_label": ("accuracy", "f1", "matthews"),
    "multi_label": ("micro_f1", "f1"),
    "regression": ("pearson", "spearman"),
}


@dataclass(frozen=True)
class Columns:
    """Which columns of the data to read; None: recognised by name."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()  # one column of 0 and 1 for each label of a multi-label task


@dataclass(frozen=True)
class Overrides:
    """What the caller changes in the recipe; None: nothing."""

    initialisation: Initialisation | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    max_length: int | None = None
    pooling: Pooling | None = None
    dropout: float | None = None
    weight_decay: float | None = None
    label_smoothing: float | None = None


@dataclass(frozen=True)
class Target:
    """Where the adapter is published; nowhere by default."""

    url: str | None = None  # of a running server
    key: str | None = field(default=None, repr=False)  # its admin key
    registry: str | None = None  # SQLAlchemy URL, written without a server
    activate: bool = True  # answers to the task's name at once
    allow_incompatible: bool = False  # even where that breaks the clients of the live version


@dataclass(frozen=True)
class TrainOptions:
    """One training. Raises TrainingError for what cannot be right whatever the data."""

    task: str
    train: str  # a file, or a data set of the Hub
    output: Path
    validation: str | None = None
    type: TaskType | None = None  # None: told from the labels
    label_names: tuple[str, ...] = ()  # of whole numbers from 0, or of flags in lists, in their order
    merge_spellings: bool = False  # labels that differ only in case or spaces are one
    columns: Columns = Columns()
    method: Method = "adakron"
    experts: int = 4  # of a mixture
    encoding: str | None = None  # of text files; None: UTF-8, or what the byte order mark says
    drop_duplicates: bool = False  # leave out training rows that stand there twice, or in the validation data
    class_weights: ClassWeights = "none"
    bottleneck: int = 48
    q: int = 4
    truncation: TrainedTruncation = "right"  # where over-long inputs are cut, in training and in serving
    layers: str = "all"  # where adapters sit: all, upper (half), or indices from 0 such as 0,2,5
    recipe_name: RecipeName = "default"
    overrides: Overrides = Overrides()
    metric: MetricName | None = None  # that the best checkpoint is chosen by; None: the usual one of the type
    evaluate_every: int | None = None  # steps; None: each epoch
    seed: int = 42
    mixed_precision: MixedPrecision = "no"
    dtype: FileDtype = "float32"  # of the file
    backbone: str | None = None  # None: the default one
    device: Device = "auto"
    resume: bool = False  # go on with the training in `output`
    overwrite: bool = False  # replace the training in `output`
    target: Target = Target()

    def __post_init__(self) -> None:
        if fault := find_name_fault("task", self.task):
            raise TrainingError(fault)
        try:
            "a".encode("utf-8" if self.encoding is None else self.encoding)
        except (LookupError, ValueError):
            raise TrainingError(f"--encoding {self.encoding}: no such encoding; cp1252, utf-16 ... are some") from None
        if self.resume and self.overwrite:
            raise TrainingError(
                "--resume keeps the training in --output, and --overwrite replaces it: give one of them"
            )
        if self.columns.labels and (self.columns.label or self.type not in (None, "multi_label")):
            raise TrainingError(
                "--label-columns makes a multi_label task of one column per label; leave out --label-column and --type"
            )
        self._check_label_names()
        if self.q < 1 or self.bottleneck < self.q or self.bottleneck % self.q:
            raise TrainingError(f"bottleneck {self.bottleneck} must be a multiple of q = {self.q}")
        if self.experts < 1:
            raise TrainingError(f"experts must be above 0, not {self.experts}")
        if self.method not in SERVABLE and (self.target.url or self.target.registry):
            raise TrainingError(
                f"--method {self.method} is there to compare with: what it trains is no AdaKron adapter, and cannot be "
                f"published; leave out --url and --registry, or choose {', '.join(SERVABLE)}"
            )
        if self.target.url and self.target.registry:
            raise TrainingError("give --url (a running server) or --registry (its database), not both")
        if self.target.url and not self.target.key:
            raise TrainingError("--url needs a key of the server")
        recipe = self.recipe
        for name in ("learning_rate", "batch_size", "epochs", "patience"):
            if getattr(recipe, name) <= 0:
                raise TrainingError(f"{name.replace('_', '-')} must be above 0, not {getattr(recipe, name)}")
        if not 0 <= recipe.dropout < 1:
            raise TrainingError(f"dropout must lie in 0..1, below 1, not {recipe.dropout}")
        if not 0 <= recipe.label_smoothing < 1:
            raise TrainingError(f"label-smoothing must lie in 0..1, below 1, not {recipe.label_smoothing}")
        if not 4 <= recipe.max_length <= 8192:
            raise TrainingError(f"max-length must lie in 4..8192, not {recipe.max_length}")

    def _check_label_names(self) -> None:
        names = self.label_names
        if names and self.type == "regression":
            raise TrainingError("--label-names: a regression has no classes to name; leave it out")
        if names and self.columns.labels:
            raise TrainingError("--label-names: the columns of --label-columns name the labels; leave one of them out")
        odd = next((name for name in names if len(name) > MAX_LABEL_CHARS or not is_label_text(name)), None)
        if odd is not None:
            raise TrainingError(f"--label-names: {odd[:40]!r} is not 1 to {MAX_LABEL_CHARS} printable characters")
        if len(set(names)) < len(names):
            raise TrainingError("--label-names: a name stands there twice; each class needs its own")

    @property
    def recipe(self) -> Recipe:
        """The recipe with what the method needs otherwise, and the caller's changes."""
        changes = {name: value for name, value in vars(self.overrides).items() if value is not None}
        return replace(RECIPES[self.recipe_name], **(CHANGES.get(self.method, {}) | changes))

    @property
    def p(self) -> int:
        """Width of W_a's output."""
        return self.bottleneck // self.q
