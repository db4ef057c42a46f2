"""Start a real PgBouncer in front of the tests' PostgreSQL."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.databases import SERVER

# It listens on a socket in a folder of its own: a free port could be taken by another test before PgBouncer has it.
CONFIGURATION = """
[databases]
* = host={host} port={server_port} user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
server_reset_query_always = 0
"""
PORT = 6432  # part of the socket's name
START_S = 20.0


@contextmanager
def pgbouncer(url: str, *, pool_size: int) -> Iterator[str]:
    """Yield `url` through a PgBouncer in transaction mode whose clients share `pool_size` sessions of the server."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("no PgBouncer (apt-get install pgbouncer)")
    host, _, server_port = SERVER.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(CONFIGURATION.format(host=host, server_port=server_port, folder=folder, pool_size=pool_size))
        nobody = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it refuses to run as root
        with subprocess.Popen(
            [program, str(file)], user=nobody, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                _wait_for(f"{folder}/.s.PGSQL.{PORT}", process)
                yield f"{url.replace(SERVER, '')}?host={folder}&port={PORT}"
            finally:
                process.terminate()
                try:
                    process.communicate(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()  # otherwise Popen waits for ever
                    raise


def _wait_for(path: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
            except OSError:
                time.sleep(0.02)
            else:
                return
    process.terminate()
    pytest.fail(f"PgBouncer did not start: {process.communicate()[1].decode()}")
