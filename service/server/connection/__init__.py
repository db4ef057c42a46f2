"""One HTTP/1.1 connection, with the limits and the behaviour that uvicorn leaves out.

protocol.Connection is uvicorn's protocol for one connection. Below it, request_reader.RequestReader turns bytes into
requests, and transport.CoalescingTransport sends the responses.
"""

from service.server.connection.protocol import Connection

__all__ = ["Connection"]
