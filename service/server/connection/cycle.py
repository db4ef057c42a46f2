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
    keeps_alive_later = False  # once the client is told to go on with its body

    async def receive(self) -> Any:
        """The next ASGI message."""
        if self.keeps_alive_later:
            self.keeps_alive_later, self.keep_alive = False, True
        message = await super().receive()
        if self.fault is not None:
            return {"type": "http.disconnect", "error": self.fault}
        return message

    def break_body(self, fault: ServiceError) -> None:
        """No more of the body comes; the connection ends with the answer."""
        self.fault, self.keep_alive, self.keeps_alive_later = fault, False, False
        self.message_event.set()
