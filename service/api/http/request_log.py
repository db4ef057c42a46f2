"""RequestLog: gives every HTTP request an id, a log entry, and headers for browsers and caches."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.http.auth import task_of
from service.api.http.cors import cors_headers
from service.api.http.errors import internal_failure
from service.api.http.headers import REQUEST_ID_HEADER, answer_headers, find_request_id
from service.api.http.routing import locate
from service.api.state import ServerState
from service.observability.request_context import RequestContext

logger = logging.getLogger(__name__)


class RequestLog:
    """The outermost ASGI middleware. Exceptions of `app` end here: they are logged and answered with 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin the request's log entry, answer the request and finish the entry."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: ServerState = scope["state"]["server"]
        path = locate(scope, state.settings.root_path)
        client = scope.get("client")
        record = RequestContext(find_request_id(scope["headers"]), scope["method"], client[0] if client else None)
        cors = cors_headers(state.settings.cors_origins, scope["headers"])
        added = (REQUEST_ID_HEADER, record.request_id.encode("ascii")), *answer_headers(path), *cors

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        state.access_log.begin(record, path, scope["headers"])
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            logger.error("a bug, or a fault of the system", exc_info=error)
            if not record.status:
                await internal_failure().build_response()(scope, receive, send_with_headers)
        finally:
            if record.route is None:
                record.route = getattr(scope.get("route"), "path", None)
            if not record.task_runs and (task := scope.get("path_params", {}).get("task")) is not None:
                record.add_task(task_of(task))
            state.access_log.end(record, path)
