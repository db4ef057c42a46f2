"""Run `adakron` commands in the test's process."""

from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from service.commands.app import app


def run(*arguments: object, columns: int = 200, **options: Any) -> Result:
    runner = CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"})
    return runner.invoke(app, [str(argument) for argument in arguments], **options)


def done(*arguments: object, **options: Any) -> str:
    """Run a command that succeeds, and return its output."""
    result = run(*arguments, **options)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object, **options: Any) -> str:
    """Run a command that exits with 2, and return its one line."""
    result = run(*arguments, **options)
    assert result.exit_code == 2, result.output
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1
    return result.output
