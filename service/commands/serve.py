"""`adakron serve`."""

import logging
import os
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from adapters.errors import AdapterError
from service.commands.options import reading_with
from service.commands.stopping import stop_at_once
from service.commands.terminal import fail
from service.errors import ServiceError
from service.observability.logs import to_stderr
from service.processes.child import start_early
from service.settings import Settings

logger = logging.getLogger(__name__)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for every interface.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Port of its own for the admin API, metrics and console, away from clients.")
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(help="Prefix under which a proxy offers the server, such as /nlp.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Local folder, or a name on the Hugging Face Hub.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the registry and of the admin key.")] = None,
    warmup: Annotated[
        bool | None,
        typer.Option("--warmup/--no-warmup", help="Whether to warm up before listening.", show_default=False),
    ] = None,
) -> None:
    """Start the service. Every other setting is an environment variable ADAKRON_* (docs/configuration.md)."""
    reading = reading_with(
        host=host,
        port=port,
        admin_port=admin_port,
        root_path=root_path,
        backbone=backbone,
        device=device,
        data_dir=data_dir,
        warmup=warmup,
    )
    settings, told = reading.settings, None
    with stop_at_once(signal.SIGINT, signal.SIGTERM), to_stderr(settings):
        logger.info("AdaKron Serve %s starts (process %d)", version("adakron-serve"), os.getpid())
        for line in reading.warnings():
            logger.warning("%s", line)
        try:
            return _run(settings)
        except (AdapterError, ServiceError) as error:
            told = str(error)
            if settings.log_format == "json":
                logger.critical("%s", told)
        except Exception:
            logger.critical("the server has ended by a bug, or a fault of the system", exc_info=True)
    if told is not None and settings.log_format == "text":
        fail(told)
    raise typer.Exit(2)


def _run(settings: Settings) -> None:
    start_early()
    from service.server import run_server  # torch and FastAPI take seconds to import; other commands need neither

    run_server(settings)
