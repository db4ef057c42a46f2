"""`python -m service.train`, which is `adakron train`."""

from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from adapters.config import Pooling
from adapters.errors import AdapterError
from service.train.errors import PublishError, TrainingError
from service.train.options import (
    ClassWeights,
    Columns,
    Device,
    FileDtype,
    MetricName,
    MixedPrecision,
    Overrides,
    Target,
    TrainOptions,
)
from service.train.recipes import Initialisation, RecipeName
from service.train.summary import print_summary

DATA, METHOD, TRAINING, OUTPUT, PUBLISH = "Data", "Adapter", "Training", "Output", "Publish"

EPILOG = """
[bold]Examples[/bold]

adakron train --task sentiment --train reviews.csv --output runs/sentiment

adakron train --task sst2 --train glue/sst2 --recipe paper --backbone bert-base-uncased

adakron train --task intent --train train.jsonl --validation dev.jsonl --url http://localhost:8000 --key KEY

accelerate launch --num_processes 4 -m service.train --task nli --train glue/rte --mixed-precision bf16
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def train(
    task: Annotated[str, typer.Option(help="Name that clients will call it by: a-z, 0-9 and -.")],
    train: Annotated[
        str,
        typer.Option(
            help="CSV, TSV, JSON, JSON Lines or Parquet file with a header; or a data set of the Hugging Face Hub, "
            "such as glue/sst2 or owner/name/config.",
            rich_help_panel=DATA,
        ),
    ],
    validation: Annotated[
        str | None,
        typer.Option(
            help="The same for validation. By default the Hub data set's validation split; of a file, a tenth of the "
            "rows is held out.",
            rich_help_panel=DATA,
        ),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column of the text; recognised by default.", rich_help_panel=DATA)
    ] = None,
    pair_column: Annotated[
        str | None, typer.Option(help="Column of the second text, where an input is a pair.", rich_help_panel=DATA)
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column of the label; recognised by default.", rich_help_panel=DATA)
    ] = None,
    label_columns: Annotated[
        str | None,
        typer.Option(help="Columns of 0 and 1, one per label, such as toxic,threat,insult.", rich_help_panel=DATA),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of text files, such as cp1252; UTF-8 by default.", rich_help_panel=DATA)
    ] = None,
    drop_duplicates: Annotated[
        bool,
        typer.Option(
            "--drop-duplicates",
            help="Leave out training rows that stand there twice, or in the validation data.",
            rich_help_panel=DATA,
        ),
    ] = False,
    type: Annotated[
        Literal["auto", "single_label", "multi_label", "regression"],
        typer.Option(
            help="One class, any number of classes, or a number; auto tells from the labels.", rich_help_panel=DATA
        ),
    ] = "auto",
    backbone: Annotated[
        str | None,
        typer.Option(
            help="The frozen BERT: a folder, or a name on the Hub. By default all-MiniLM-L6-v2.",
            envvar="ADAKRON_BACKBONE",
            rich_help_panel=METHOD,
        ),
    ] = None,
    bottleneck: Annotated[
        int, typer.Option(help="Width r of the adapter: 48 or 32 in the paper.", rich_help_panel=METHOD)
    ] = 48,
    q: Annotated[int, typer.Option(help="The smaller factor of r = p * q.", rich_help_panel=METHOD)] = 4,
    dropout: Annotated[
        float | None,
        typer.Option(
            help="Share of the hidden states dropped in training; 0.1 helps where many epochs overfit.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    pooling: Annotated[
        Pooling | None,
        typer.Option(help="How a text becomes one vector. By default what suits the backbone.", rich_help_panel=METHOD),
    ] = None,
    init: Annotated[
        Initialisation | None,
        typer.Option(help="How the adapter starts. By default the recipe's.", rich_help_panel=METHOD),
    ] = None,
    recipe: Annotated[
        RecipeName,
        typer.Option(
            help="Hyper-parameters that go together: the best measured here, or those of the paper. The options below "
            "change single ones.",
            rich_help_panel=TRAINING,
        ),
    ] = "default",
    epochs: Annotated[int | None, typer.Option(help="Passes over the data, at most.", rich_help_panel=TRAINING)] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Stop after this many evaluations without a better score.", rich_help_panel=TRAINING),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its peak.", rich_help_panel=TRAINING)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts per step and device.", rich_help_panel=TRAINING)] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens per input; longer ones are cut.", rich_help_panel=TRAINING)
    ] = None,
    label_smoothing: Annotated[
        float | None,
        typer.Option(help="Share of each target that is spread over all classes.", rich_help_panel=TRAINING),
    ] = None,
    class_weights: Annotated[
        ClassWeights,
        typer.Option(help="balanced: rare classes count as much as frequent ones.", rich_help_panel=TRAINING),
    ] = "none",
    metric: Annotated[
        MetricName | None,
        typer.Option(
            help="What the best checkpoint is chosen by. By default accuracy, micro_f1 or pearson.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(help="Evaluate and save after this many steps; each epoch by default.", rich_help_panel=TRAINING),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same adapter.", rich_help_panel=TRAINING),
    ] = 42,
    mixed_precision: Annotated[
        MixedPrecision, typer.Option(help="bf16 is faster on recent CPUs and GPUs.", rich_help_panel=TRAINING)
    ] = "no",
    device: Annotated[Device, typer.Option(help="auto takes CUDA if there is one.", rich_help_panel=TRAINING)] = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for adapter, scores, checkpoints and logs. By default runs/TASK.", rich_help_panel=OUTPUT
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a killed training stopped.", rich_help_panel=OUTPUT)
    ] = False,
    dtype: Annotated[
        FileDtype, typer.Option(help="Of the weights in the file; float16 halves it.", rich_help_panel=OUTPUT)
    ] = "float32",
    url: Annotated[
        str | None, typer.Option(help="Publish to this running server when done.", rich_help_panel=PUBLISH)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Admin key of that server.", envvar="ADAKRON_ADMIN_KEY", rich_help_panel=PUBLISH),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(help="Publish into this database (SQLAlchemy URL), without a server.", rich_help_panel=PUBLISH),
    ] = None,
    activate: Annotated[
        bool, typer.Option("--activate/--no-activate", help="Let clients have it at once.", rich_help_panel=PUBLISH)
    ] = True,
) -> None:
    """Train an adapter for one task, and publish it.

    Writes OUTPUT/adapter.safetensors, one small file that any AdaKron server with the same backbone can serve.
    """
    try:
        # imported only now: it brings in torch and transformers, and --help should not take seconds
        from service.train.run import train as run_training

        options = TrainOptions(
            task=task,
            train=train,
            output=output or Path("runs") / task,
            validation=validation,
            type=None if type == "auto" else type,
            columns=Columns(text_column, pair_column, label_column, _names(label_columns)),
            encoding=encoding,
            drop_duplicates=drop_duplicates,
            class_weights=class_weights,
            bottleneck=bottleneck,
            q=q,
            recipe_name=recipe,
            overrides=Overrides(
                init, learning_rate, batch_size, epochs, patience, max_length, pooling, dropout, label_smoothing
            ),
            metric=metric,
            evaluate_every=evaluate_every,
            seed=seed,
            mixed_precision=mixed_precision,
            dtype=dtype,
            backbone=backbone,
            device=device,
            resume=resume,
            target=Target(url, key, registry, activate),
        )
        result = run_training(options, Console(stderr=True))
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; training needs: pip install 'adakron-serve[train]'", 2)
    except KeyboardInterrupt:
        _fail("stopped; the same command with --resume goes on from the last checkpoint", 130)
    except PublishError as error:
        _fail(str(error), 1)
    except (TrainingError, AdapterError) as error:
        _fail(str(error), 2)
    if result is not None:
        print_summary(Console(), result)


def _names(listed: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in (listed or "").split(",") if name.strip()))


def _fail(message: str, code: int) -> NoReturn:
    console = Console(stderr=True)
    console.print("[red]error:[/red]", end=" ")
    console.print(message, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    app()
