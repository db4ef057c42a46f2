"""Run the application under uvicorn, on one port or two, and say at start what a newcomer wants to know."""

import asyncio
import logging
import signal

import uvicorn

from adapters.source import LoadedBackbone
from service.admin_key import admin_key_path, load_admin_key
from service.app import create_apps, load_for, serving
from service.registry import Registry
from service.settings import Settings

logger = logging.getLogger(__name__)


def run_server(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are finished first.

    Raises RegistryUnavailable or InvalidInput for the registry, BackboneError for the backbone: before anything
    listens, so that the command line can say it in one line.
    """
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "alembic.runtime.plugins", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    load_admin_key(settings)
    where = "ADAKRON_ADMIN_KEY" if settings.admin_key is not None else str(admin_key_path(settings).absolute())
    logger.info("admin key: %s", where)
    logger.info("loading %s; then: http://%s:%d/docs", settings.backbone, _shown(settings.host), settings.port)
    if settings.admin_port is not None:
        admin_host = _shown(settings.admin_host or settings.host)
        logger.info("admin API and metrics: http://%s:%d/docs", admin_host, settings.admin_port)
    Registry.open(settings.resolved_registry_url).close()
    loaded = load_for(settings)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises it again when it is done; we still have to close
        signal.signal(number, lambda *_: None)
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(_serve(settings, loaded))


def _shown(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host


async def _serve(settings: Settings, loaded: LoadedBackbone) -> None:
    async with serving(settings, lambda _: loaded) as state:
        places = [(settings.host, settings.port), (settings.admin_host or settings.host, settings.admin_port)]
        servers = [
            _uvicorn(app, settings, host, port or 0)
            for app, (host, port) in zip(create_apps(state), places, strict=False)
        ]
        # The last to start gets the signal first and hands it on when it has drained: metrics stay to the end.
        await asyncio.gather(*(server.serve() for server in reversed(servers)))


def _uvicorn(app: object, settings: Settings, host: str, port: int) -> uvicorn.Server:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # an ASGI application
        host=host,
        port=port,
        log_level=settings.log_level,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=int(settings.shutdown_timeout_s),
        server_header=False,
    )
    return uvicorn.Server(config)
