"""Visit: one HTTP request for predictions by a FastAPI route: its key, its time, its permits, its body, its metrics.

`POST /v1/{task}/predict`, of which most come, has the same life in predictions.py.
"""

import logging
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from service.api.deps import ServerState
from service.api.http.auth import Handler, caller_of, predict_scope, task_of
from service.api.http.body import BodyLimits, JsonRequest, read_body, with_body
from service.api.http.errors import Failure, failure_of, internal_failure
from service.api.http.json_body import check_coding, check_head, read_json
from service.api.http.patience import Patience
from service.api.http.time_limit import time_limit_s
from service.api.near import near_names
from service.auth.permissions import authorise
from service.core import ApiKey, Permit, PublishedVersion
from service.errors import Overloaded, ServiceError
from service.observability.request_context import current_context
from service.settings import Settings

logger = logging.getLogger(__name__)

Shape = Callable[[Failure], Any]  # an error as a protocol shows it, ready for JSON


class Visit:
    """What a handler asks for the versions that it may compute. It gives back all permits in the end."""

    def __init__(self, request: Request, settings: Settings) -> None:
        """Raises Unauthorised, Forbidden, and InvalidInput for the header of the time limit."""
        self.state: ServerState = request.state.server
        scope = predict_scope(settings)
        self._key: ApiKey | None = None if scope is None else caller_of(request, scope)
        self.limit_s = time_limit_s(request.scope["headers"], settings)
        self._deadline = time.monotonic() + self.limit_s
        self._permits: list[Permit] = []

    def resolve(self, reference: str) -> PublishedVersion:
        """The version that `reference` means. Raises Forbidden, UnknownTask, UnknownVersion."""
        run = current_context().add_task(task_of(reference))
        if self._key is not None:
            authorise(self._key, "predict", task_of(reference))
        with near_names(self.state, self._key):
            run.version = self.state.follower.snapshot.resolve(reference)
        return run.version

    def admit(self, version: PublishedVersion) -> Permit:
        """To compute it. Raises what `Admission.admit` raises."""
        permit = self.state.admission.admit(version.task, self._deadline, beside=self.num_tokens)
        self._permits.append(permit)
        return permit

    @property
    def num_tokens(self) -> int:
        """Tokens that its permits hold."""
        return sum(permit.num_tokens for permit in self._permits)

    def check(self) -> None:
        """Raises what `admit` would raise for a task that holds nothing: before the body has named one."""
        self.state.admission.check("", self._deadline)

    def close(self) -> None:
        """The request is answered."""
        while self._permits:
            self.state.admission.release(self._permits.pop())


async def _stored_visit(request: Request) -> Visit:
    visit: Visit = request.state.visit
    return visit


ThisVisit = Annotated[Visit, Depends(_stored_visit)]


async def _stored_permit(request: Request) -> tuple[PublishedVersion, Permit]:
    admitted: tuple[PublishedVersion, Permit] = request.state.admitted
    return admitted


Admitted = Annotated[tuple[PublishedVersion, Permit], Depends(_stored_permit)]  # of the task in the path


def visited_route(
    settings: Settings,
    shape: Shape,
    reference_of: Callable[[Request], str] | None,
    inputs_help: str | None = None,
) -> type[APIRoute]:
    """A route class for predictions. `reference_of` finds the task in the path, which is admitted before the body is
    read; without it the handler admits what the body names, and calls `count` for each.

    Errors are answered in `shape`; `inputs_help` as in `failure_of`.
    """
    timed, untimed = BodyLimits.of(settings), BodyLimits.of(settings, timed=False)

    class VisitedRoute(APIRoute):
        error_shape = staticmethod(shape)  # also of errors before the route, such as 405

        def get_route_handler(self) -> Handler:
            handle, takes_json = super().get_route_handler(), self.body_field is not None

            async def visited(request: Request) -> Response:
                visit = request.state.visit = Visit(request, settings)
                try:
                    if reference_of is None:
                        visit.check()
                    else:
                        version = visit.resolve(reference_of(request))
                        request.state.admitted = version, visit.admit(version)
                    (check_head if takes_json else check_coding)(request.scope["headers"])
                    async with Patience(visit.limit_s) as patience:
                        body = await read_body(request, timed if visit.limit_s > settings.body_timeout_s else untimed)
                        patience.watch(request.receive)
                        if not takes_json:
                            return await handle(with_body(request, body))
                        return await handle(JsonRequest(request, body, read_json(body, settings.max_inputs)))
                finally:
                    visit.close()

            async def answered(request: Request) -> Response:
                started, code = time.perf_counter(), 500
                state: ServerState = request.state.server
                request.state.codes = {} if reference_of is None else {reference_of(request): None}
                try:
                    response = await visited(request)
                    code = response.status_code
                    return response
                except (ServiceError, RequestValidationError) as error:
                    failure = failure_of(error, inputs_help)
                    code, current_context().error_type = failure.status, failure.error_type
                    if isinstance(error, Overloaded):
                        state.metrics.rejected.labels(error.reason).inc()
                    return JSONResponse(shape(failure), failure.status, failure.headers)
                except Exception as error:
                    logger.error("a bug, or a fault of the system", exc_info=error)
                    failure = internal_failure()
                    current_context().error_type = failure.error_type
                    return JSONResponse(shape(failure), failure.status)
                finally:
                    _observe(state, request.state.codes or {"": None}, code, time.perf_counter() - started)

            return answered

    return VisitedRoute


def task_in_path(request: Request) -> str:
    """What stands for {task}."""
    reference: str = request.path_params["task"]
    return reference


def count(request: Request, reference: str, code: int | None = None) -> None:
    """The request concerns this task: with a code of its own, or with that of the whole answer."""
    request.state.codes[reference] = code


def _observe(state: ServerState, codes: dict[str, int | None], code: int, duration_s: float) -> None:
    for reference, own in codes.items():
        name = task_of(reference)
        known = name if name in state.follower.snapshot.tasks else None
        state.metrics.observe_request(known, own or code, duration_s, current_context().exemplar)
