"""`adakron train`: the command line, built from the declarations in options.py."""

import inspect
import sys
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self

import typer
from pydantic import model_validator
from rich.console import Console

from adapters.errors import AdapterError
from service.auth.client_key import KEY_VARIABLES, find_key
from service.errors import ServiceError, make_printable
from service.settings import load_settings
from service.train.data.reading.source import check_source
from service.train.errors import PublishError, TrainingError
from service.train.flags import Flag, Options
from service.train.options import DataOptions, FitOptions, PublishOptions, TrainOptions

EPILOG = """
[bold]Examples[/bold]

adakron train --task sentiment --train reviews.csv --output runs/sentiment

adakron train --task sentiment --train reviews.csv --check

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

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.as_json and not self.check:
            raise TrainingError("--json prints the findings of --check; give both")
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
        options = TrainOptions.of(**values)
        for source in (options.data.train, options.data.validation):
            if source is not None:
                check_source(source)
        if mode.check:
            _check(options, as_json=mode.as_json)
        else:
            _train(options, mode.search)
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; training needs: {remedy()}", 2)
    except KeyboardInterrupt:
        resumable = "; the same command with --resume continues from the last checkpoint"
        _fail(f"stopped{'' if mode and mode.check else resumable}", 130)
    except PublishError as error:
        _fail(str(error), 1)
    except (ServiceError, AdapterError) as error:
        _fail(str(error), 2)


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
                annotation=Annotated[str | None if listed else field.annotation, option],
                default=inspect.Parameter.empty if field.is_required() else default,
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
