"""Run a server: check what can be checked at once, open its sockets, and supervise its processes."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

from service.auth.keys import admin_key_path, load_admin_key
from service.errors import InvalidInput
from service.processes.cgroups import usable_cpus
from service.processes.exhausted import find_file_shortage
from service.server.sockets import claimed, open_for_processes
from service.server.supervisor import Supervisor
from service.settings import Settings
from service.settings.web import url_of

MAX_AUTO = 16  # HTTP processes
_NVIDIA = Path("/dev/nvidiactl")  # exists where a driver has found a GPU

logger = logging.getLogger(__name__)


def run_server(settings: Settings, folder: Path) -> None:
    """Serve until SIGTERM or SIGINT, then finish accepted requests; a second signal ends the process at once.

    `folder` is private to this server. Before the server listens, raises RegistryUnavailable or InvalidInput for the
    registry, BackboneError for the backbone, and InvalidInput for an address or a limit of the system. Raises
    EngineDied when the engine process has ended.
    """
    if (shortage := find_file_shortage(http_processes(settings))) is not None:
        raise InvalidInput(shortage)
    load_admin_key(settings)
    where = "ADAKRON_ADMIN_KEY" if settings.admin_key is not None else str(admin_key_path(settings).absolute())
    logger.info("admin key: %s", where)
    places = [(settings.host, settings.port)]
    public = admin = url_of(*places[0])
    logger.info("loading %s; then: %s/docs", settings.backbone, public)
    if settings.admin_port is not None:
        places.append((settings.admin_host or settings.host, settings.admin_port))
        admin = url_of(*places[1])
        logger.info("admin API and metrics: %s/docs", admin)
    if settings.console:
        logger.info("console: %s/console", admin)
    sockets = open_for_processes(places, http_processes(settings))
    try:
        with claimed(sockets[0]):
            asyncio.run(_supervise(settings, folder, sockets))
    finally:
        for each in {each for places_of in sockets for opened in places_of for each in opened}:
            each.close()


def http_processes(settings: Settings) -> int:
    """Return ADAKRON_HTTP_WORKERS, or the number that suits the cores and the device.

    Up to four cores have one; above, the engine on a CPU leaves it a quarter of them, and one on a GPU half.
    """
    if settings.http_workers:
        return settings.http_workers
    num_cpus = usable_cpus()
    if num_cpus <= 4:
        return 1
    on_gpu = settings.device.startswith("cuda") or (settings.device == "auto" and _NVIDIA.exists())
    return min(MAX_AUTO, num_cpus // (2 if on_gpu else 4))


async def _supervise(settings: Settings, folder: Path, sockets: Sequence[Sequence[Sequence[socket.socket]]]) -> None:
    await Supervisor(settings, folder, sockets).run()
