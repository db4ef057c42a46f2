"""`adakron train`: the command line, built from the declarations in options.py."""

import inspect
import sys
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self

import typer
from pydantic import Field, model_validator
from rich.console import Console

from adapters.errors import AdapterError
from service.auth.client_key import KEY_VARIABLES, find_key
from service.errors import ServiceError, make_printable
from service.settings import load_settings
from service.train.data.reading.source import check_source
from service.train.errors import PublishError, TrainingError
from service.train.flags import Flag, Options
from service.train.options import DataOptions, FitOptions, PublishOptions, TrainOptions
from service.train.tasks_file import read_tasks

EPILOG = """
[bold]Examples[/bold]

adakron train --task sentiment --train reviews.csv --output runs/sentiment

adakron train --task sentiment --train reviews.csv --check

adakron train --task opinion --train opinions.csv --gate user

adakron train --tasks tasks.toml --gate task

adakron train --task sst2 --train glue/sst2 --recipe paper --backbone bert-base-uncased

adakron train --task intent --train train.jsonl --validation dev.jsonl --url http://localhost:8000 --key KEY

accelerate launch --num_processes 4 -m service.train --task nli --train glue/rte --mixed-precision bf16
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


class Mode(Options):
    """The action of the command: train once, check, or search."""

    check: Annotated[
        bool, Flag("Data", "Check the data and estimate the training time; train nothing, write nothing.")
    ] = False
    as_json: Annotated[bool, Flag("Data", "Print the findings of --check as JSON.", name="json")] = False
    search: Annotated[
        int | None,
        Flag(
            "Training",
            "Train this many times, with learning rates and epochs drawn around the recipe's, and keep the best.",
        ),
    ] = None

    tasks: Annotated[
        Path | None,
        Flag(
            "Data",
            "TOML file with a table for each of several tasks, which are trained together: [TASK], below it train = "
            "FILE and its other options. Instead of --task and --train.",
        ),
    ] = None
    sampling_temperature: Annotated[
        float,
        Field(ge=1, le=1000),
        Flag("Training", "With --tasks: 1 draws batches of each task by its rows, more draws small tasks more often."),
    ] = 2.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.as_json and not self.check:
            raise TrainingError("--json prints the findings of --check; give both")
        if self.tasks is not None and (self.check or self.search is not None):
            raise TrainingError("--tasks has no --check and no --search; check a task with --task and --train")
        return self


def train(**values: Any) -> None:
    """Train an adapter for one task, and publish it.

    Writes OUTPUT/adapter.safetensors, one small file that any AdaKron server with the same backbone can serve.
    """
    mode = None
    try:
        mode = Mode(**{name: values.pop(name) for name in Mode.model_fields})
        if values["backbone"] is None:
            values["backbone"] = load_settings({}).backbone
        values["key"] = _find_key(values["url"], values["key"]) if values["url"] else None
        if mode.tasks is not None:
            _train_tasks(mode.tasks, values, mode.sampling_temperature)
            return
        options = _one_task(values)
        if mode.check:
            _check(options, as_json=mode.as_json)
        else:
            _train(options, mode.search)
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; training needs: {remedy()}", 2)
    except KeyboardInterrupt:
        resumable = "; the same command with --resume continues from the last checkpoint"
        _fail(f"stopped{'' if mode and (mode.check or mode.tasks) else resumable}", 130)
    except PublishError as error:
        _fail(str(error), 1)
    except (ServiceError, AdapterError) as error:
        _fail(str(error), 2)


def _one_task(values: dict[str, Any]) -> TrainOptions:
    if values["task"] is None or values["train"] is None:
        raise TrainingError("give --task NAME and --train FILE; or, for several tasks, --tasks FILE")
    options = TrainOptions.of(**values)
    _check_sources(options)
    return options


def _check_sources(options: TrainOptions) -> None:
    for source in (options.data.train, options.data.validation):
        if source is not None:
            check_source(source)


def _parameters() -> Iterator[inspect.Parameter]:
    """The parameters of the command, from which typer makes its flags and its help."""
    for kind in (TrainOptions, DataOptions, FitOptions, PublishOptions, Mode):
        for name, (field, flag) in kind.flags().items():
            listed = field.default == ()  # a,b,c on the command line
            default = None if listed else field.default
            # a switch that is off by default has no --no-...
            shown = [f"--{(flag.name or name).replace('_', '-')}"] if default is False or flag.name else []
            option = typer.Option(
                *shown, help=flag.help, rich_help_panel=flag.panel, envvar=list(flag.variables) or None
            )
            yield inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                # --task and --train are required, unless --tasks has them
                annotation=Annotated[str | None if listed or field.is_required() else field.annotation, option],
                default=None if field.is_required() else default,
            )


train.__signature__ = inspect.Signature(list(_parameters()))  # type: ignore[attr-defined]  # typer reads it
app.command(epilog=EPILOG)(train)


# torch, transformers and scipy take seconds to import: --help, a typing error and a missing file do without them


def _check(options: TrainOptions, *, as_json: bool) -> None:
    from service.train.check import examine, print_findings

    findings = examine(options)
    if as_json:
        typer.echo(dumps(findings.as_json(), indent=2, ensure_ascii=False))
    else:
        print_findings(Console(emoji=False), findings)


def _train(options: TrainOptions, num_candidates: int | None) -> None:
    from service.train.pipeline import train
    from service.train.result import print_summary
    from service.train.search import search

    console = Console(stderr=True, emoji=False)
    result = train(options, console) if num_candidates is None else search(options, num_candidates, console)
    if result is not None:
        print_summary(Console(emoji=False), result)


def _train_tasks(path: Path, values: dict[str, Any], temperature: float) -> None:
    gate = values["gate"] or "task"
    if gate not in ("task", "none"):
        raise TrainingError(f"--gate {gate}: with --tasks it is task, or none for one adapter that all tasks share")
    own = [
        name
        for name in ("task", *DataOptions.model_fields)
        if name not in ("gate", "cross_validate") and _is_given(name, values[name])
    ]
    if own:
        raise TrainingError(
            f"--{own[0].replace('_', '-')}: each task of --tasks has its own; leave it out, and write it into {path}"
        )
    tasks = read_tasks(path, {**values, "gate": None})
    for options in tasks:
        _check_sources(options)
    from service.train.result import print_summary
    from service.train.together import train_tasks

    console = Console(stderr=True, emoji=False)
    for result in train_tasks(tasks, gated=gate == "task", temperature=temperature, console=console):
        print_summary(Console(emoji=False), result)


def _is_given(name: str, value: Any) -> bool:
    field = DataOptions.model_fields.get(name)
    return value not in (None, () if field is None or field.is_required() else field.default)


def remedy(source: Path = Path(__file__).parents[2]) -> str:
    """How to install the libraries of training: by make in an installation by `make serve`, else by pip."""
    if Path(sys.prefix).resolve() == (source / ".venv").resolve() and (source / "Makefile").is_file():
        return f"make -C {source} training"
    return "pip install 'adakron-serve[train]'"


def _find_key(url: str, given: str | None) -> str:
    found = find_key(url, given)
    if found.text is None:
        raise TrainingError(
            f"--url needs a key of the server, and none was found ({found.place}): give one with --key KEY, or set "
            f"{KEY_VARIABLES[0]}"
        )
    return found.text


def _fail(message: str, code: int) -> NoReturn:
    console = Console(stderr=True, emoji=False)
    console.print("[red]error:[/red]", end=" ")
    console.print(make_printable(message), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)
