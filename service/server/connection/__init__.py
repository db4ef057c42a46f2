"""One HTTP/1.1 connection, with the limits and the behaviour that uvicorn leaves out.

protocol.Connection is uvicorn's protocol for one connection. Below it, request_reader.RequestReader turns bytes into
requests, request_cycle.RequestCycle is one request with its response, and transport.CoalescingTransport sends.
"""

from service.server.connection.protocol import Connection

__all__ = ["Connection"]
