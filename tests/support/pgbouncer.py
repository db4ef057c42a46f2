"""A real PgBouncer before the PostgreSQL of the tests, for tests."""

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

CONFIGURATION = """
[databases]
* = host={host} port={server_port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
server_reset_query_always = 0
"""
START_S = 20.0


@contextmanager
def pgbouncer(url: str, *, pool_size: int) -> Iterator[str]:
    """`url` through a PgBouncer in transaction mode, whose clients share `pool_size` sessions of the server."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("no PgBouncer (apt-get install pgbouncer)")
    host, _, server_port = SERVER.partition(":")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(CONFIGURATION.format(host=host, server_port=server_port, port=port, pool_size=pool_size))
        nobody = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it refuses to run as root
        with subprocess.Popen(
            [program, str(file)], user=nobody, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                _wait_for(port, process)
                yield url.replace(SERVER, f"127.0.0.1:{port}")
            finally:
                process.terminate()
                process.communicate(timeout=10)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    process.terminate()
    pytest.fail(f"PgBouncer did not start: {process.communicate()[1].decode()}")
