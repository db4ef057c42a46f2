"""One HTTP/1.1 connection: what uvicorn leaves open, from limits on heads to clients that half-close.

protocol.Connection is uvicorn's protocol for one connection, on top of reader.RequestReader, which turns bytes into
requests; transport.CoalescingTransport sends the answers.
"""

from service.server.connection.protocol import Connection

__all__ = ["Connection"]
