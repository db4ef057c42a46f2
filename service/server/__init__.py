"""The running server: start and signals (run.py), sockets, the graceful end (graceful_server.py), HTTP connections."""

from service.server.run import run_server

__all__ = ["run_server"]
