"""TrainOptions: every option of a training, declared once, in three parts: data, fit and publish.

A field carries its type, its default, its bounds and a `Flag` with its help; command.py builds the command line from
them. A function takes only the part that it needs.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from adapters.config import Pooling, TaskType, TrainedTruncation
from service.auth.client_key import KEY_VARIABLES
from service.core import find_name_fault
from service.train.errors import TrainingError
from service.train.flags import GATE_FIELD, KNOWN_ENCODING, Flag, LabelNames, Names, Options
from service.train.recipes import CHANGES, RECIPES, SERVABLE, Initialisation, Method, Recipe, RecipeName

FileDtype = Literal["float32", "float16"]
MixedPrecision = Literal["no", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda"]
ClassWeights = Literal["none", "balanced"]
MetricName = Literal["accuracy", "f1", "matthews", "pearson", "spearman", "micro_f1"]

_data, _adapter, _training, _output, _publish = (
    partial(Flag, panel) for panel in ("Data", "Adapter", "Training", "Output", "Publish")
)

POSITIVE = Field(gt=0)
SHARE = Field(ge=0, lt=1)


class DataOptions(Options):
    """Which rows and columns are read, and how."""

    train: Annotated[
        str,
        _data(
            "CSV, TSV, JSON, JSON Lines or Parquet file with named columns; or a data set of the Hugging Face Hub, "
            "such as glue/sst2 or owner/name/config."
        ),
    ]
    validation: Annotated[
        str | None,
        _data(
            "The same for validation. By default the validation split of a Hub data set; of a file, a tenth of the "
            "rows is held out."
        ),
    ] = None
    text_column: Annotated[
        str | None, _data("Column of the text, or a field in it such as text.body; recognised by default.")
    ] = None
    pair_column: Annotated[str | None, _data("Column of the second text, if an input is a pair.")] = None
    label_column: Annotated[str | None, _data("Column of the label; recognised by default.")] = None
    label_columns: Annotated[
        Names,
        AfterValidator(lambda names: tuple(dict.fromkeys(names))),
        _data("Columns of 0 and 1, one per label, such as toxic,threat,insult."),
    ] = ()
    label_names: Annotated[
        LabelNames, _data("Names of the classes 0, 1, 2 ..., or of the flags in lists such as [0, 1, 0]: a,b,c.")
    ] = ()
    merge_spellings: Annotated[
        bool, _data("Merge labels that differ only in case or spaces; the most frequent spelling names them.")
    ] = False
    encoding: Annotated[
        str | None, KNOWN_ENCODING, _data("Encoding of text files, such as cp1252. By default UTF-8.")
    ] = None
    cross_validate: Annotated[
        bool, _data("Score up to 300 rows without --validation by 3-fold cross-validation; else hold out a tenth.")
    ] = True
    drop_duplicates: Annotated[
        bool, _data("Drop training rows that repeat an earlier row or occur in the validation data.")
    ] = False
    type: Annotated[
        Literal["auto", "single_label", "multi_label", "regression"],
        _data("One class, any number of classes, or a number; auto infers it from the labels."),
    ] = "auto"

    gate: Annotated[
        str | None,
        GATE_FIELD,
        _data(
            "Column, such as user or language, each value of which gets an adapter of its own, mixed from common "
            "experts, in one file. With --tasks: task, or none."
        ),
    ] = None

    @property
    def task_type(self) -> TaskType | None:
        """The type that the caller chose; None: it is inferred from the labels."""
        return None if self.type == "auto" else self.type

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.label_columns and (self.label_column or self.type not in ("auto", "multi_label")):
            raise TrainingError(
                "--label-columns makes a multi_label task of one column per label; leave out --label-column and --type"
            )
        names = self.label_names
        if names and self.type == "regression":
            raise TrainingError("--label-names: a regression has no classes to name; leave it out")
        if names and self.label_columns:
            raise TrainingError("--label-names: the columns of --label-columns name the labels; leave one of them out")
        return self


class FitOptions(Options):
    """How the adapter is trained. None: as the recipe has it, or as its sentence says."""

    backbone: Annotated[
        str | None,
        _adapter(
            "The frozen BERT: a folder, or a name on the Hub. By default ADAKRON_BACKBONE, else all-MiniLM-L6-v2."
        ),
    ] = None
    method: Annotated[
        Method, _adapter("adakron; madakron-*, its mixtures of experts; the others are for comparison only.")
    ] = "adakron"
    experts: Annotated[int, POSITIVE, _adapter("Experts of each projection in a mixture that has several.")] = 4
    bottleneck: Annotated[int, _adapter("Width r of the adapter: 48 or 32 in the paper.")] = 48
    q: Annotated[int, POSITIVE, _adapter("The smaller factor of r = p * q.")] = 4
    layers: Annotated[str, _adapter("Layers with an adapter: all, upper (half), or indices such as 0,2,5.")] = "all"
    pooling: Annotated[Pooling | None, _adapter("How a text becomes one vector. By default the backbone decides.")] = (
        None
    )
    initialisation: Annotated[Initialisation | None, _adapter("By default the recipe's.", name="init")] = None
    recipe: Annotated[
        RecipeName,
        _training(
            "Hyper-parameters that go together: the best measured here, or those of the paper. The options below "
            "change single ones."
        ),
    ] = "default"
    epochs: Annotated[int | None, POSITIVE, _training("Passes over the data, at most.")] = None
    patience: Annotated[int | None, POSITIVE, _training("Evaluations without a gain before training stops.")] = None
    learning_rate: Annotated[float | None, POSITIVE, _training("Learning rate at its peak.")] = None
    weight_decay: Annotated[float | None, _training("Weight decay of matrices; biases have none.")] = None
    batch_size: Annotated[int | None, POSITIVE, _training("Texts per step and device.")] = None
    dropout: Annotated[
        float | None, SHARE, _training("Share of the hidden states dropped in training; 0.1 helps against overfitting.")
    ] = None
    max_length: Annotated[int | None, Field(ge=4, le=8192), _training("Tokens per input; longer ones are cut.")] = None
    truncation: Annotated[
        TrainedTruncation,
        _training(
            "Where longer inputs are cut, in training and in serving: at their end, their beginning or their middle."
        ),
    ] = "right"
    label_smoothing: Annotated[float | None, SHARE, _training("Share of each target spread over all classes.")] = None
    class_weights: Annotated[ClassWeights, _training("balanced: rare classes count like frequent ones.")] = "none"
    metric: Annotated[
        MetricName | None,
        _training("Metric that chooses the best checkpoint. By default accuracy, micro_f1 or pearson."),
    ] = None
    evaluate_every: Annotated[
        int | None, POSITIVE, _training("Steps between evaluations, each with a checkpoint. By default an epoch.")
    ] = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1), _training("The same seed gives the same adapter.")] = 42
    mixed_precision: Annotated[MixedPrecision, _training("bf16 is faster on recent CPUs and GPUs.")] = "no"
    device: Annotated[Device, _training("auto takes CUDA if there is a GPU.")] = "auto"

    @property
    def hyper_parameters(self) -> Recipe:
        """The recipe with the changes that the method needs, and with those of the caller."""
        names = Recipe.__dataclass_fields__
        given = {name: value for name, value in self if name in names and value is not None}
        return replace(RECIPES[self.recipe], **(CHANGES.get(self.method, {}) | given))

    @property
    def p(self) -> int:
        """The larger factor of the bottleneck: the width of W_a's output."""
        return self.bottleneck // self.q

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bottleneck < self.q or self.bottleneck % self.q:
            raise TrainingError(f"--bottleneck {self.bottleneck}: it must be a multiple of --q {self.q}")
        return self


class PublishOptions(Options):
    """Destination of the result: the output folder, and the server or registry that it is published to."""

    output: Annotated[
        Path | None, _output("Folder for the adapter, scores, checkpoints and logs. By default runs/TASK.")
    ] = None
    resume: Annotated[bool, _output("Continue a killed training from its last checkpoint.")] = False
    overwrite: Annotated[bool, _output("Replace the training that OUTPUT holds.")] = False
    dtype: Annotated[FileDtype, _output("Type of the weights in the file; float16 halves its size.")] = "float32"
    url: Annotated[str | None, _publish("Publish to this running server after training.")] = None
    key: Annotated[
        str | None,
        Field(repr=False),
        _publish(
            "A key of that server. For a local server the default is admin.key in ADAKRON_DATA_DIR or ./data.",
            variables=KEY_VARIABLES,
        ),
    ] = None
    registry: Annotated[str | None, _publish("Publish into this database (SQLAlchemy URL) without a server.")] = None
    activate: Annotated[bool, _publish("Make the new version live.")] = True
    allow_incompatible: Annotated[
        bool, _publish("Make it live even if its type, pairs or missing labels break clients of the live version.")
    ] = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.resume and self.overwrite:
            raise TrainingError("--resume keeps the training in --output, --overwrite replaces it: give one of them")
        if self.url and self.registry:
            raise TrainingError("give --url (a running server) or --registry (its database), not both")
        if self.url and not self.key:
            raise TrainingError("--url needs a key of the server: give --key")
        return self


PARTS: dict[str, type[Options]] = {"data": DataOptions, "fit": FitOptions, "publish": PublishOptions}


class TrainOptions(Options):
    """One training. Raises TrainingError for options that cannot be right, whatever the data."""

    task: Annotated[str, Flag("Options", "Name that clients call the task by: a-z, 0-9 and -.")]
    data: DataOptions
    fit: FitOptions = FitOptions()
    publish: PublishOptions = PublishOptions()

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The options from the values of single ones, as the command line has them."""
        parts = {
            part: kind(**{name: values.pop(name) for name in kind.model_fields if name in values})
            for part, kind in PARTS.items()
        }
        return cls(**values, **parts)

    def change(self, **values: Any) -> Self:
        """A copy with other values of single options, checked again."""
        flat = {name: value for part in PARTS for name, value in getattr(self, part)}
        return self.of(**{"task": self.task} | flat | values)

    @property
    def folder(self) -> Path:
        """The output folder."""
        return self.publish.output or Path("runs") / self.task

    @model_validator(mode="after")
    def _check(self) -> Self:
        if fault := find_name_fault("task", self.task):
            raise TrainingError(fault)
        if self.fit.method not in SERVABLE and (self.publish.url or self.publish.registry):
            raise TrainingError(
                f"--method {self.fit.method} is for comparison and makes no AdaKron adapter, so it cannot be "
                f"published; leave out --url and --registry, or choose {', '.join(SERVABLE)}"
            )
        return self
