"""`adakron serve`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from adapters.errors import AdapterError
from service.child_process import start_early
from service.commands.shared import fail, settings_with
from service.errors import ServiceError

logger = logging.getLogger(__name__)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for every interface.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Port of its own for the admin API, metrics and console, away from clients.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Local folder, or a name on the Hugging Face Hub.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the registry and of the admin key.")] = None,
    warmup: Annotated[
        bool | None,
        typer.Option("--warmup/--no-warmup", help="Whether to warm up before listening.", show_default=False),
    ] = None,
) -> None:
    """Start the service. Every other setting is an environment variable ADAKRON_* (docs/operations.md)."""
    settings = settings_with(
        host=host,
        port=port,
        admin_port=admin_port,
        backbone=backbone,
        device=device,
        data_dir=data_dir,
        warmup=warmup,
    )
    from service.logs import to_stderr

    start_early()
    from service.server import run_server  # torch and FastAPI take seconds to import; other commands need neither

    told = None
    with to_stderr(settings):
        try:
            return run_server(settings)
        except (AdapterError, ServiceError) as error:
            told = str(error)
            if settings.log_format == "json":
                logger.critical("%s", told)
        except Exception:
            logger.critical("the server has ended by a bug, or a fault of the system", exc_info=True)
    if told is not None and settings.log_format == "text":
        fail(told)
    raise typer.Exit(2)
