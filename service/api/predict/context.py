"""PredictionContext: the life of one prediction request, the same for every protocol.

Authenticate, resolve the version, admit, read the body, predict within the deadline, answer, observe. An `Endpoint`
states what differs between protocols.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel

from adapters.backbone.text_encoder import TextInput, Truncation
from service.api.http.auth import authenticate_caller, predict_scope, suggesting_names, task_of
from service.api.http.body import BodyLimits, check_content_encoding, check_json_headers, parse_model, read_body
from service.api.http.deadline import Deadline, read_timeout_s
from service.api.http.errors import Failure, Shape, failure_of, internal_failure
from service.api.http.openapi import Responses
from service.api.state import ServerState
from service.auth.permissions import authorise
from service.core import ApiKey, PublishedVersion
from service.dispatch.dispatcher import Ticket
from service.errors import DeadlineExceeded, EngineDied, Overloaded, ServiceError, ShuttingDown
from service.inference.predictor import Predictions
from service.inference.tokenizer import HOW_CUT, is_short
from service.observability.request_context import RequestContext, TaskRun, current_context

logger = logging.getLogger(__name__)
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, eq=False, kw_only=True)
class Endpoint:
    """One prediction route of a protocol."""

    path: str  # as in FastAPI; {task} and {version} name the version, else the body does
    handle: Callable[["PredictionContext"], Awaitable[Response]]  # its docstring describes the route in /docs
    request: type[BaseModel]
    examples: dict[str, Any]  # of requests
    response: Any  # type of the answer in /docs
    responses: Responses  # examples of the answer and of errors
    summary: str
    tag: str
    shape: Shape = Failure.body  # how errors are written
    inputs_help: str | None = None  # what the field `inputs` must be
    takes_json: bool = True  # False: the Content-Type may be anything
    _regex: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_regex", re.compile(re.sub(r"\{\w+\}", "([^/]+)", self.path)))

    def match(self, path: str) -> str | None:
        """Return the task in `path`, such as "sst2@7"; "" if the body names the task; None for other paths."""
        match = self._regex.fullmatch(path)
        return None if match is None else "@".join(match.groups())


@dataclass(frozen=True, slots=True)
class Admitted:
    """A version with the ticket to compute it."""

    version: PublishedVersion
    ticket: Ticket


class PredictionContext:
    """One prediction request: its caller, versions, deadline, body and tickets, which it holds until the answer."""

    body: bytes  # set before the handler is called
    target: Admitted  # the version in the path; set before the handler is called

    def __init__(self, endpoint: Endpoint, reference: str, request: Request) -> None:
        self.state: ServerState = request.scope["state"]["server"]
        self.runs: dict[str, TaskRun] = {}  # by reference, in the order of `name_task`
        self._endpoint, self._reference, self._request = endpoint, reference, request
        self._record = current_context()
        self._key: ApiKey | None = None
        self._tickets: list[Ticket] = []

    async def answer(self) -> Response:
        """Run the endpoint's handler and return its response, or that of an error; observe the outcome."""
        status = 500  # if the server cancels the request
        self._record.route = self._endpoint.path
        try:
            response = await self._run_safely()
            status = response.status_code
            return response
        finally:
            observe_outcome(self._record, status, self.state)

    def name_task(self, reference: str) -> TaskRun:
        """Note in the log entry and for the metrics that the request names this task."""
        run = self.runs[reference] = self._record.add_task(task_of(reference))
        return run

    def parse_body(self, model: type[_Model]) -> _Model:
        """Parse and validate the body. Raises what `parse_model` raises."""
        return parse_model(model, self.body, self.state.settings.max_inputs, self._endpoint.inputs_help)

    def header(self, name: str) -> str | None:
        """Return the value of a request header; None if it is missing."""
        return self._request.headers.get(name)

    def resolve(self, reference: str) -> PublishedVersion:
        """Return the version that `reference` names. Raises Forbidden, UnknownTask, UnknownVersion."""
        run = self.runs.get(reference) or self.name_task(reference)
        if self._key is not None:
            authorise(self._key, "predict", task_of(reference))
        with suggesting_names(self.state, self._key):
            run.version = self.state.follower.snapshot.resolve(reference)
        return run.version

    def admit(self, version: PublishedVersion) -> Admitted:
        """Ask for a permit, which is released with the answer; if it is refused later, that ends the request.

        Raises what `Dispatcher.open` raises.
        """
        beside = self._tickets[0] if self._tickets else None
        ticket = self.state.dispatcher.open(version.task, self._deadline.at, self._refused, beside=beside)
        self._tickets.append(ticket)
        return Admitted(version, ticket)

    def reserve(self, admitted: Admitted, inputs: Sequence[TextInput]) -> None:
        """Count the tokens that `inputs` can have towards the permit. Raises what `Ticket.reserve` raises."""
        self.state.predictor.reserve(admitted.ticket, inputs, admitted.version)

    async def predict(
        self,
        admitted: Admitted,
        inputs: Sequence[TextInput],
        truncation: Truncation | None,
        how_cut: str = HOW_CUT,
        *,
        key: bytes | None = None,
    ) -> Predictions:
        """Reserve, tokenize and compute `inputs`; `how_cut` says how a client of this protocol has long texts cut.

        `key` is the salted digest of a key, for a version with gates. Raises what `reserve` and `Predictor.predict`
        raise.
        """
        self.reserve(admitted, inputs)
        predictor, version = self.state.predictor, admitted.version
        if not is_short(inputs):
            await admitted.ticket.granted()
        encode = partial(predictor.encode, inputs, version, truncation, how_cut)
        return await predictor.predict(version, admitted.ticket, encode, key)

    def _refused(self, error: ServiceError) -> None:
        """End the request at once if it cannot be answered; other errors are raised where the ticket is awaited."""
        if isinstance(error, Overloaded | ShuttingDown | DeadlineExceeded | EngineDied):
            self._deadline.end(error)

    async def _run_safely(self) -> Response:
        """Convert errors to responses in the endpoint's shape."""
        try:
            return await self._run()
        except ServiceError as error:
            failure = failure_of(error)
            if isinstance(error, Overloaded):
                self.state.metrics.rejected.labels(error.reason).inc()
        except Exception as error:
            logger.error("a bug, or a fault of the system", exc_info=error)
            failure = internal_failure()
        return failure.build_response(self._endpoint.shape)

    async def _run(self) -> Response:
        state, settings, headers = self.state, self.state.settings, self._request.scope["headers"]
        if self._reference:
            self.name_task(self._reference)
        if (scope := predict_scope(settings)) is not None:
            self._key = authenticate_caller(self._request, state, scope, task_of(self._reference) or None)
        deadline = self._deadline = Deadline(read_timeout_s(headers, settings))
        try:
            async with deadline:
                if self._reference:
                    self.target = self.admit(self.resolve(self._reference))
                else:
                    state.dispatcher.check("", deadline.at)  # refuse before reading the body that names the task
                (check_json_headers if self._endpoint.takes_json else check_content_encoding)(headers)
                limits = BodyLimits.from_settings(settings, timed=deadline.timeout_s > settings.body_timeout_s)
                self.body = await read_body(self._request, limits)
                deadline.watch_client(self._request.receive)
                return await self._endpoint.handle(self)
        finally:
            for ticket in self._tickets:
                ticket.close()


def observe_outcome(record: RequestContext, status: int, state: ServerState) -> None:
    """Count and time a prediction request for each task that it names; a task's own status takes precedence."""
    duration_s, tasks = time.monotonic() - record.started, state.follower.snapshot.tasks
    for run in record.task_runs or [TaskRun(None)]:
        known = run.task if run.task in tasks else None
        state.metrics.observe_request(known, run.status or status, duration_s, record.exemplar)
