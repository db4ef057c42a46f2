"""The options of `adakron train`, as its help shows them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from adapters.config import Pooling, TrainedTruncation
from service.auth.client_key import KEY_VARIABLES
from service.train.options import ClassWeights, Device, FileDtype, MetricName, MixedPrecision
from service.train.recipes import Initialisation, Method, RecipeName

DATA, METHOD, TRAINING, OUTPUT, PUBLISH = "Data", "Adapter", "Training", "Output", "Publish"

Task = Annotated[str, typer.Option(help="Name that clients will call it by: a-z, 0-9 and -.")]
Train = Annotated[
    str,
    typer.Option(
        help="CSV, TSV, JSON, JSON Lines or Parquet file with named columns; or a data set of the Hugging Face "
        "Hub, such as glue/sst2 or owner/name/config.",
        rich_help_panel=DATA,
    ),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Check the data and tell the time that the training takes; train nothing, write nothing.",
        rich_help_panel=DATA,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print what --check finds as JSON.", rich_help_panel=DATA)]
Validation = Annotated[
    str | None,
    typer.Option(
        help="The same for validation. By default the Hub data set's validation split; of a file, a tenth of the "
        "rows is held out.",
        rich_help_panel=DATA,
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of the text, or a field in it such as text.body; recognised by default.", rich_help_panel=DATA
    ),
]
PairColumn = Annotated[
    str | None, typer.Option(help="Column of the second text, where an input is a pair.", rich_help_panel=DATA)
]
LabelColumn = Annotated[
    str | None, typer.Option(help="Column of the label; recognised by default.", rich_help_panel=DATA)
]
LabelColumns = Annotated[
    str | None,
    typer.Option(help="Columns of 0 and 1, one per label, such as toxic,threat,insult.", rich_help_panel=DATA),
]
LabelNames = Annotated[
    str | None,
    typer.Option(
        help="Names of the classes 0, 1, 2 ..., or of flags in lists such as [0, 1, 0], in their order: a,b,c.",
        rich_help_panel=DATA,
    ),
]
MergeSpellings = Annotated[
    bool,
    typer.Option(
        "--merge-spellings",
        help="Labels that differ only in case or spaces are one, as the most frequent is written.",
        rich_help_panel=DATA,
    ),
]
Encoding = Annotated[
    str | None, typer.Option(help="Of text files, such as cp1252; UTF-8 by default.", rich_help_panel=DATA)
]
DropDuplicates = Annotated[
    bool,
    typer.Option(
        "--drop-duplicates",
        help="Leave out training rows that stand there twice, or in the validation data.",
        rich_help_panel=DATA,
    ),
]
TaskType = Annotated[
    Literal["auto", "single_label", "multi_label", "regression"],
    typer.Option(
        help="One class, any number of classes, or a number; auto tells from the labels.", rich_help_panel=DATA
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        help="The frozen BERT: a folder, or a name on the Hub. By default ADAKRON_BACKBONE, else all-MiniLM-L6-v2.",
        rich_help_panel=METHOD,
    ),
]
Bottleneck = Annotated[int, typer.Option(help="Width r of the adapter: 48 or 32 in the paper.", rich_help_panel=METHOD)]
Q = Annotated[int, typer.Option(help="The smaller factor of r = p * q.", rich_help_panel=METHOD)]
Dropout = Annotated[
    float | None,
    typer.Option(
        help="Share of the hidden states dropped in training; 0.1 helps where many epochs overfit.",
        rich_help_panel=TRAINING,
    ),
]
PoolingKind = Annotated[
    Pooling | None,
    typer.Option(help="How a text becomes one vector. By default what suits the backbone.", rich_help_panel=METHOD),
]
Init = Annotated[
    Initialisation | None,
    typer.Option(help="How the adapter starts. By default the recipe's.", rich_help_panel=METHOD),
]
RecipeOf = Annotated[
    RecipeName,
    typer.Option(
        help="Hyper-parameters that go together: the best measured here, or those of the paper. The options below "
        "change single ones.",
        rich_help_panel=TRAINING,
    ),
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the data, at most.", rich_help_panel=TRAINING)]
Patience = Annotated[
    int | None,
    typer.Option(help="Stop after this many evaluations without a better score.", rich_help_panel=TRAINING),
]
LearningRate = Annotated[float | None, typer.Option(help="At its peak.", rich_help_panel=TRAINING)]
BatchSize = Annotated[int | None, typer.Option(help="Texts per step and device.", rich_help_panel=TRAINING)]
MaxLength = Annotated[int | None, typer.Option(help="Tokens per input; longer ones are cut.", rich_help_panel=TRAINING)]
Truncation = Annotated[
    TrainedTruncation,
    typer.Option(
        help="Where longer inputs are cut, in training and in serving: at their end, their beginning or their middle.",
        rich_help_panel=TRAINING,
    ),
]
LabelSmoothing = Annotated[
    float | None,
    typer.Option(help="Share of each target that is spread over all classes.", rich_help_panel=TRAINING),
]
Weighting = Annotated[
    ClassWeights,
    typer.Option(help="balanced: rare classes count as much as frequent ones.", rich_help_panel=TRAINING),
]
Metric = Annotated[
    MetricName | None,
    typer.Option(
        help="What the best checkpoint is chosen by. By default accuracy, micro_f1 or pearson.",
        rich_help_panel=TRAINING,
    ),
]
EvaluateEvery = Annotated[
    int | None,
    typer.Option(help="Evaluate and save after this many steps; each epoch by default.", rich_help_panel=TRAINING),
]
Seed = Annotated[
    int,
    typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same adapter.", rich_help_panel=TRAINING),
]
Precision = Annotated[
    MixedPrecision, typer.Option(help="bf16 is faster on recent CPUs and GPUs.", rich_help_panel=TRAINING)
]
OnDevice = Annotated[Device, typer.Option(help="auto takes CUDA if there is one.", rich_help_panel=TRAINING)]
Output = Annotated[
    Path | None,
    typer.Option(
        help="Folder for adapter, scores, checkpoints and logs. By default runs/TASK.", rich_help_panel=OUTPUT
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where a killed training stopped.", rich_help_panel=OUTPUT)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the training that OUTPUT holds.", rich_help_panel=OUTPUT)
]
StoredAs = Annotated[
    FileDtype, typer.Option(help="Of the weights in the file; float16 halves it.", rich_help_panel=OUTPUT)
]
Url = Annotated[str | None, typer.Option(help="Publish to this running server when done.", rich_help_panel=PUBLISH)]
Key = Annotated[
    str | None,
    typer.Option(
        help="A key of that server; of a local one, admin.key is read from ADAKRON_DATA_DIR, or from ./data.",
        envvar=list(KEY_VARIABLES),
        rich_help_panel=PUBLISH,
    ),
]
Registry = Annotated[
    str | None,
    typer.Option(help="Publish into this database (SQLAlchemy URL), without a server.", rich_help_panel=PUBLISH),
]
Activate = Annotated[
    bool, typer.Option("--activate/--no-activate", help="Let clients have it at once.", rich_help_panel=PUBLISH)
]
AllowIncompatible = Annotated[
    bool,
    typer.Option(
        "--allow-incompatible",
        help="Make it live even where its type, pairs or missing labels break clients of the live version.",
        rich_help_panel=PUBLISH,
    ),
]
MethodName = Annotated[
    Method,
    typer.Option(
        help="adakron; its mixtures of experts, merged at the end; or, to compare with and never published: pfeiffer, "
        "full fine-tuning, the head alone.",
        rich_help_panel=METHOD,
    ),
]
Experts = Annotated[int, typer.Option(help="Of a mixture, of each projection with several.", rich_help_panel=METHOD)]
Layers = Annotated[
    str, typer.Option(help="Where adapters sit: all, upper (half), or indices such as 0,2,5.", rich_help_panel=METHOD)
]
WeightDecay = Annotated[float | None, typer.Option(help="Of matrices, not of biases.", rich_help_panel=TRAINING)]
Search = Annotated[
    int | None,
    typer.Option(
        help="Train so many times, with learning rates and epochs drawn around the recipe's, and keep the best.",
        rich_help_panel=TRAINING,
    ),
]
