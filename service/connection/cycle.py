"""One request and its answer, as the application sees them."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.errors import ServiceError


class Cycle(RequestResponseCycle):
    """uvicorn's, with two differences.

    A body that ends in a fault is told to the application as http.disconnect, with the fault as `error`, while the
    answer is still sent. After an answer before `100 Continue` the connection ends: the client may leave the body out.
    """

    fault: ServiceError | None = None

    async def receive(self) -> Any:
        """The next ASGI message."""
        message = await super().receive()
        if self.fault is not None:
            return {"type": "http.disconnect", "error": self.fault}
        return message

    async def send(self, message: Any) -> None:
        """Send an ASGI message."""
        if self.waiting_for_100_continue:
            self.keep_alive = False
        await super().send(message)

    def break_body(self, fault: ServiceError) -> None:
        """No more of the body comes; the connection ends with the answer."""
        self.fault, self.keep_alive = fault, False
        self.message_event.set()
