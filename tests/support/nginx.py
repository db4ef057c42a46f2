"""A real nginx before a server, which offers it below a prefix in four ways."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WAIT_S = 30
# Whether nginx takes the prefix from the path, and how it speaks to the server: by default with HTTP/1.0.
WAYS = {
    "keeps, HTTP/1.0": ("", ""),
    "strips, HTTP/1.0": ("/", ""),
    "keeps, HTTP/1.1": ("", 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;'),
    "strips, HTTP/1.1": ("/", 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;'),
}


@contextmanager
def nginx(folder: Path, port: int, prefix: str) -> Iterator[dict[str, str]]:
    """The URLs of the server on `port` below `prefix`, by `WAYS`; skips where there is no nginx."""
    command = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if command is None:
        pytest.skip("no nginx (Debian's package nginx)")
    ports = {way: _free_port() for way in WAYS}
    servers = "".join(
        f"server {{ listen 127.0.0.1:{ports[way]}; client_max_body_size 64m;"
        f" location {prefix}/ {{ proxy_pass http://adakron{rest}; proxy_set_header Host $http_host; {more} }} }}\n"
        for way, (rest, more) in WAYS.items()
    )
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in names)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off;\n{paths}"
        f"upstream adakron {{ server 127.0.0.1:{port}; keepalive 4; }}\n{servers}}}\n"
    )
    process = subprocess.Popen([command, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"])
    try:
        for own in ports.values():
            _wait_for(own, process)
        yield {way: f"http://127.0.0.1:{own}{prefix}" for way, own in ports.items()}
    finally:
        process.terminate()
        process.wait(WAIT_S)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + WAIT_S
    while True:
        assert process.poll() is None, "nginx has ended"
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)
