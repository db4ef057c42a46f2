"""The running server: its sockets, its signals, its start and its end."""

from service.server.run import run_server

__all__ = ["run_server"]
