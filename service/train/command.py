"""`python -m service.train`, which is `adakron train`."""

import sys
from json import dumps
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console

from adapters.errors import AdapterError
from service.auth.client_key import KEY_VARIABLES, find_key
from service.errors import ServiceError, make_printable
from service.settings import load_settings
from service.train import arguments
from service.train.data.reading.source import check_source
from service.train.errors import PublishError, TrainingError
from service.train.options import (
    Columns,
    Overrides,
    Target,
    TrainOptions,
)

EPILOG = """
[bold]Examples[/bold]

adakron train --task sentiment --train reviews.csv --output runs/sentiment

adakron train --task sentiment --train reviews.csv --check

adakron train --task sst2 --train glue/sst2 --recipe paper --backbone bert-base-uncased

adakron train --task intent --train train.jsonl --validation dev.jsonl --url http://localhost:8000 --key KEY

accelerate launch --num_processes 4 -m service.train --task nli --train glue/rte --mixed-precision bf16
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def train(
    task: arguments.Task,
    train: arguments.Train,
    check: arguments.Check = False,
    json: arguments.Json = False,
    validation: arguments.Validation = None,
    text_column: arguments.TextColumn = None,
    pair_column: arguments.PairColumn = None,
    label_column: arguments.LabelColumn = None,
    label_columns: arguments.LabelColumns = None,
    label_names: arguments.LabelNames = None,
    merge_spellings: arguments.MergeSpellings = False,
    encoding: arguments.Encoding = None,
    drop_duplicates: arguments.DropDuplicates = False,
    type: arguments.TaskType = "auto",
    backbone: arguments.Backbone = None,
    method: arguments.MethodName = "adakron",
    experts: arguments.Experts = 4,
    bottleneck: arguments.Bottleneck = 48,
    q: arguments.Q = 4,
    layers: arguments.Layers = "all",
    dropout: arguments.Dropout = None,
    pooling: arguments.PoolingKind = None,
    init: arguments.Init = None,
    recipe: arguments.RecipeOf = "default",
    epochs: arguments.Epochs = None,
    patience: arguments.Patience = None,
    learning_rate: arguments.LearningRate = None,
    weight_decay: arguments.WeightDecay = None,
    batch_size: arguments.BatchSize = None,
    max_length: arguments.MaxLength = None,
    truncation: arguments.Truncation = "right",
    label_smoothing: arguments.LabelSmoothing = None,
    search: arguments.Search = None,
    class_weights: arguments.Weighting = "none",
    metric: arguments.Metric = None,
    evaluate_every: arguments.EvaluateEvery = None,
    seed: arguments.Seed = 42,
    mixed_precision: arguments.Precision = "no",
    device: arguments.OnDevice = "auto",
    output: arguments.Output = None,
    resume: arguments.Resume = False,
    overwrite: arguments.Overwrite = False,
    dtype: arguments.StoredAs = "float32",
    url: arguments.Url = None,
    key: arguments.Key = None,
    registry: arguments.Registry = None,
    activate: arguments.Activate = True,
    allow_incompatible: arguments.AllowIncompatible = False,
) -> None:
    """Train an adapter for one task, and publish it.

    Writes OUTPUT/adapter.safetensors, one small file that any AdaKron server with the same backbone can serve.
    """
    try:
        options = TrainOptions(
            task=task,
            train=train,
            output=output or Path("runs") / task,
            validation=validation,
            type=None if type == "auto" else type,
            label_names=_listed(label_names),
            merge_spellings=merge_spellings,
            columns=Columns(text_column, pair_column, label_column, tuple(dict.fromkeys(_listed(label_columns)))),
            encoding=encoding,
            drop_duplicates=drop_duplicates,
            class_weights=class_weights,
            method=method,
            experts=experts,
            bottleneck=bottleneck,
            q=q,
            truncation=truncation,
            layers=layers,
            recipe_name=recipe,
            overrides=Overrides(
                initialisation=init,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                batch_size=batch_size,
                epochs=epochs,
                patience=patience,
                max_length=max_length,
                pooling=pooling,
                dropout=dropout,
                label_smoothing=label_smoothing,
            ),
            metric=metric,
            evaluate_every=evaluate_every,
            seed=seed,
            mixed_precision=mixed_precision,
            dtype=dtype,
            backbone=load_settings({} if backbone is None else {"backbone": backbone}).backbone,
            device=device,
            resume=resume,
            overwrite=overwrite,
            target=Target(url, _key(url, key), registry, activate, allow_incompatible),
        )
        check_source(train)
        if validation is not None:
            check_source(validation)
        if check or json:
            _check(options, check=check, json=json)
            return
        # imported only now: it brings in torch and transformers, and neither --help nor a typing error takes seconds
        from service.train.pipeline import train as run_training
        from service.train.search import search as run_search

        console = Console(stderr=True, emoji=False)
        result = run_training(options, console) if search is None else run_search(options, search, console)
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; training needs: {remedy()}", 2)
    except KeyboardInterrupt:
        _fail("stopped" if check else "stopped; the same command with --resume goes on from the last checkpoint", 130)
    except PublishError as error:
        _fail(str(error), 1)
    except (ServiceError, AdapterError) as error:
        _fail(str(error), 2)
    if result is not None:
        from service.train.result import print_summary

        print_summary(Console(emoji=False), result)


def _check(options: TrainOptions, *, check: bool, json: bool) -> None:
    if not check:
        raise TrainingError("--json prints what --check finds; give both")
    from service.train.check import examine, print_findings  # it brings in torch, too

    findings = examine(options)
    if json:
        typer.echo(dumps(findings.as_json(), indent=2, ensure_ascii=False))
    else:
        print_findings(Console(emoji=False), findings)


def _listed(names: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (names or "").split(",") if name.strip())


def remedy(source: Path = Path(__file__).parents[2]) -> str:
    """How to install what training needs: as `make serve` has installed the rest, or by pip."""
    if Path(sys.prefix).resolve() == (source / ".venv").resolve() and (source / "Makefile").is_file():
        return f"make -C {source} training"
    return "pip install 'adakron-serve[train]'"


def _key(url: str | None, given: str | None) -> str | None:
    if not url:
        return None
    found = find_key(url, given)
    if found.text is None:
        raise TrainingError(
            f"--url needs a key of the server, and none was found ({found.place}): give one as --key KEY, or set "
            f"{KEY_VARIABLES[0]}"
        )
    return found.text


def _fail(message: str, code: int) -> NoReturn:
    console = Console(stderr=True, emoji=False)
    console.print("[red]error:[/red]", end=" ")
    console.print(make_printable(message), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    app()
