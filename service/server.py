"""Run the application under uvicorn, and say at start what a newcomer wants to know."""

import logging

import uvicorn

from service.admin_key import admin_key_path, load_admin_key
from service.app import create_app, load_for
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
    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    logger.info("loading %s; then: http://%s:%d/docs", settings.backbone, shown, settings.port)
    Registry.open(settings.resolved_registry_url).close()
    loaded = load_for(settings)
    uvicorn.run(
        create_app(settings, lambda _: loaded),
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=int(settings.shutdown_timeout_s),
        server_header=False,
    )
