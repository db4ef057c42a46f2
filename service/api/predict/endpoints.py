"""Prediction routes, answered before FastAPI's router, which takes longer than all the rest; FastAPI describes them."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.http.auth import Handler, documented
from service.api.http.openapi import KEY_ERRORS, ModelVersion, Reference, timeout_parameter
from service.api.http.routing import route_path
from service.api.predict.context import Endpoint, PredictionContext
from service.settings import Settings

_PATH_PARAMETERS = {"task": Reference, "version": ModelVersion}


class PredictionEndpoints:
    """ASGI middleware that answers the requests of `endpoints` and passes every other request on to `app`."""

    def __init__(self, app: ASGIApp, endpoints: Sequence[Endpoint]) -> None:
        self._app, self._endpoints = app, endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a prediction request by its PredictionContext."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path = route_path(scope)
            for endpoint in self._endpoints:
                if (reference := endpoint.match(path)) is not None:
                    response = await PredictionContext(endpoint, reference, Request(scope, receive)).answer()
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def describe(endpoints: Iterable[Endpoint], settings: Settings) -> APIRouter:
    """Return routes that put `endpoints` into the OpenAPI document and answer 405 to other methods.

    Such a route never answers a request: `PredictionEndpoints` does, and a path that it does not match is not found.
    """
    router = APIRouter(dependencies=documented(settings))
    for endpoint in endpoints:
        router.add_api_route(
            endpoint.path,
            _stub(endpoint),
            methods=["POST"],
            name=endpoint.handle.__name__,
            summary=endpoint.summary,
            description=inspect.getdoc(endpoint.handle),
            tags=[endpoint.tag],
            response_model=endpoint.response,
            responses=endpoint.responses | (KEY_ERRORS if settings.require_key else {}),
            openapi_extra={"parameters": [timeout_parameter(settings)]},
            route_class_override=_route_class(endpoint),
        )
    return router


def _route_class(endpoint: Endpoint) -> type[APIRoute]:
    class DescribedRoute(APIRoute):
        error_shape = staticmethod(endpoint.shape)  # of 405

        def get_route_handler(self) -> Handler:
            return _not_found

    return DescribedRoute


async def _not_found(request: Request) -> Response:
    raise HTTPException(404)


def _stub(endpoint: Endpoint) -> Callable[..., None]:
    """Return a function whose signature has the path parameters and the body of `endpoint`."""

    def stub() -> None: ...

    body = Annotated[endpoint.request, Body(openapi_examples=endpoint.examples)]  # type: ignore[name-defined]
    parameters = {name: kind for name, kind in _PATH_PARAMETERS.items() if f"{{{name}}}" in endpoint.path}
    stub.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
            for name, kind in (parameters | {"body": body}).items()
        ]
    )
    return stub
