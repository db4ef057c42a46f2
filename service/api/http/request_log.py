"""Recording: every HTTP request has an id and leaves a line in the log; answers have headers for browsers and caches.

The outermost of all middleware.
"""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.deps import ServerState
from service.api.http.cors import cors_headers
from service.api.http.errors import internal_error
from service.api.http.headers import answer_headers
from service.api.http.prefix import locate
from service.api.http.request_id import RAW_HEADER, request_id
from service.observability.request_context import RequestContext

logger = logging.getLogger(__name__)


class Recording:
    """`app`, with X-Request-Id and `answer_headers` on all answers. Its exceptions end here, answered and logged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and write down what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: ServerState = scope["state"]["server"]
        path = locate(scope, state.settings.root_path)
        client = scope.get("client")
        record = RequestContext(request_id(scope["headers"]), scope["method"], client[0] if client else None)
        cors = cors_headers(state.settings.cors_origins, scope["headers"])
        marks = (RAW_HEADER, record.request_id.encode("ascii")), *answer_headers(path), *cors

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *marks]}
            await send(message)

        state.access_log.begin(record, path, scope["headers"])
        try:
            await self._app(scope, receive, send_marked)
        except Exception as error:
            logger.error("a bug, or a fault of the system", exc_info=error)
            if not record.status:
                await internal_error()(scope, receive, send_marked)
        finally:
            if record.route is None:
                record.route = getattr(scope.get("route"), "path", None)
            if not record.task_runs and (task := scope.get("path_params", {}).get("task")) is not None:
                record.add_task(task.partition("@")[0])
            state.access_log.end(record, path)
