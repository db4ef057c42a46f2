"""`adakron serve`: run a server; this process supervises the others."""

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
from service.processes.exhausted import explain, raise_file_limit
from service.processes.folder import server_folder
from service.settings import Settings

logger = logging.getLogger(__name__)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 means every interface.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free port.")] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Separate port for the admin API, metrics and console.")
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(help="Path prefix that a proxy puts before every route, such as /nlp.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Local folder or model of the Hugging Face Hub.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder that holds the registry and the admin key.")] = None,
    warmup: Annotated[
        bool | None,
        typer.Option("--warmup/--no-warmup", help="Warm up before listening.", show_default=False),
    ] = None,
) -> None:
    """Start the server. Every other setting is an environment variable ADAKRON_* (docs/configuration.md)."""
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
    settings, failure = reading.settings, None
    with stop_at_once(signal.SIGINT, signal.SIGTERM), to_stderr(settings):
        logger.info("AdaKron Serve %s starts (process %d)", version("adakron-serve"), os.getpid())
        for line in reading.warnings():
            logger.warning("%s", line)
        try:
            return _run(settings)
        except (AdapterError, ServiceError) as error:
            failure = str(error)
        except Exception as error:
            if (failure := explain(error)) is None:
                logger.critical("the server failed: a bug, or a fault of the system", exc_info=True)
        if failure is not None and settings.log_format == "json":
            logger.critical("%s", failure)
    if failure is not None and settings.log_format == "text":
        fail(failure)
    raise typer.Exit(2)


def _run(settings: Settings) -> None:
    raise_file_limit()
    with server_folder() as folder:
        start_early()
        from service.server import run_server  # the registry's library takes time to import

        run_server(settings, folder)
