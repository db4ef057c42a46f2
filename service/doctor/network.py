"""The ports, a running server, and the clock."""

import errno
import socket
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path

import httpx

import service
from service.client.connection import is_local
from service.doctor.core import Finding, Setup, combine, failed, ok, warning
from service.settings.web import bracketed, url_of

TIMEOUT_S = 5.0
MAX_SKEW_S = 5.0


def server(setup: Setup) -> Finding:
    """Check that the server at --url, or at the settings' address, is ready and of this release."""
    url = (setup.url or _own_url(setup)).rstrip("/")
    here = setup.url is None or is_local(url)
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=not here) as client:  # no proxy for this machine
            ready = client.get("/health/ready")
            description = client.get("/openapi.json")
        state, theirs = ready.json()["status"], description.json()["info"]["version"]
    except httpx.HTTPError as error:
        if setup.url is None:
            return ok(f"none runs at {url}")
        return failed(f"no answer from {url}: {error or type(error).__name__}", "start the server, or correct --url")
    except (ValueError, LookupError, TypeError):
        return failed(f"{url} is not an AdaKron server", "correct --url, or free its port")
    findings = [ok(f"{url} is {state}, release {theirs}")]
    if ready.status_code != 200:
        findings.append(
            warning("it is not ready: it is shutting down and rejects requests", "check again after its restart")
        )
    if theirs != (ours := version("adakron-serve")):
        findings.append(
            warning(f"this is release {ours}, the server has {theirs}", "restart the server, or install its release")
        )
    return combine([*findings, *_check_skew(ready.headers.get("date"))])


def ports(setup: Setup) -> Finding:
    """Check that the ports of the settings are free, or taken by an AdaKron server."""
    settings = setup.settings
    places = [(settings.host, settings.port)]
    if settings.admin_port is not None:
        places.append((settings.admin_host or settings.host, settings.admin_port))
    return combine([_check_port(setup, host, port) for host, port in places])


def clock(setup: Setup) -> Finding:
    """Check that the clock is not before the installation: stored dates would be wrong, and TLS would fail."""
    installed = Path(service.__file__).stat().st_mtime
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if now < installed - 24 * 3600:
        return failed(f"it shows {shown}, a time before the installation", "set the clock (timedatectl set-ntp true)")
    return ok(shown)


def _check_port(setup: Setup, host: str, port: int) -> Finding:
    place = f"{bracketed(host)}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError:
        return failed(f"this user may not listen on {place}", "use a port of 1024 or more")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return failed(f"{place}: {error.strerror}", "use an address of this machine, or 0.0.0.0 for all of them")
        if _is_ours(host, port):
            return ok(f"{place} is taken by an AdaKron server")
        return failed(f"{place}: {error.strerror}", "stop the program that has it (`ss -ltnp`), or use another port")
    return ok(f"{place} is free")


def _is_ours(host: str, port: int) -> bool:
    try:
        answer = httpx.get(f"{url_of(host, port)}/health/live", timeout=TIMEOUT_S, trust_env=False)
        return bool(answer.json() == {"status": "ok"})
    except (httpx.HTTPError, ValueError):
        return False


def _own_url(setup: Setup) -> str:
    return url_of(setup.settings.host, setup.settings.port)


def _check_skew(date: str | None) -> Iterator[Finding]:
    if date is None:
        return
    seconds = abs(time.time() - parsedate_to_datetime(date).timestamp())
    if seconds > MAX_SKEW_S:
        yield warning(f"its clock and this one differ by {seconds:.0f} s", "synchronize both with NTP")
