"""Predictions: the life of POST /v1/{task}/predict (docs/architecture.md), and its metrics.

It stands before FastAPI's router, which takes longer than all the rest. FastAPI describes the route (predict.py).
"""

import time

from pydantic_core import to_json
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.deps import ServerState
from service.api.http.auth import caller_of, predict_scope
from service.api.http.body import BodyLimits, read_body
from service.api.http.early_rejection import PREDICT_ROUTE
from service.api.http.errors import INPUTS_HELP, failure_of, internal_error
from service.api.http.json_body import check_head, read_model
from service.api.http.patience import Patience
from service.api.http.prefix import route_path
from service.api.http.time_limit import time_limit_s
from service.api.near import near_names
from service.api.predict.inputs import texts_of
from service.api.predict.responses import answer_of, build, check_size
from service.api.schemas import PredictRequest
from service.core import Permit, PublishedVersion
from service.errors import Overloaded, ServiceError
from service.observability.request_context import current_context
from service.settings import Settings

_PREFIX, _SUFFIX = PREDICT_ROUTE.split("{task}")


class Predictions:
    """ASGI middleware, before FastAPI's own. Answers predictions and hands everything else on."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._key_scope = predict_scope(settings)
        self._limits, self._untimed = BodyLimits.of(settings), BodyLimits.of(settings, timed=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a prediction; whether well or with an error, it is counted and timed."""
        if (reference := _reference(scope)) is None:
            await self._app(scope, receive, send)
            return
        started, code = time.perf_counter(), 500
        state: ServerState = scope["state"]["server"]
        try:
            answer = await self._answer(Request(scope, receive), reference, state)
            code = answer[0]["status"]
        except ServiceError as error:
            failure = failure_of(error)
            code = failure.status
            answer = await _recorded(failure.answer(), scope, receive)
            if isinstance(error, Overloaded):
                state.metrics.rejected.labels(error.reason).inc()
        except Exception:
            await internal_error()(scope, receive, send)
            raise  # for the log
        finally:
            name = reference.partition("@")[0]
            known = name if name in state.follower.snapshot.tasks else None
            state.metrics.observe_request(known, code, time.perf_counter() - started, current_context().exemplar)
        for message in answer:
            await send(message)

    async def _answer(self, request: Request, reference: str, state: ServerState) -> list[Message]:
        """For a request that has a key, a task and a permit, as long as its client waits for it."""
        arrived, record = time.monotonic(), current_context()
        record.route, run = PREDICT_ROUTE, record.add_task(reference.partition("@")[0])
        caller = None
        if self._key_scope is not None:
            request.scope["path_params"] = {"task": reference}
            caller = caller_of(request, self._key_scope)
        limit_s = time_limit_s(request.scope["headers"], self._settings)
        with near_names(state, caller):
            version = run.version = state.follower.snapshot.resolve(reference)
        permit = state.admission.admit(version.task, arrived + limit_s)
        try:
            check_head(request.scope["headers"])
            async with Patience(limit_s) as patience:
                body = await read_body(
                    request, self._limits if limit_s > self._settings.body_timeout_s else self._untimed
                )
                patience.watch(request.receive)
                asked = read_model(PredictRequest, body, self._settings.max_inputs, INPUTS_HELP)
                content = await _content(asked, version, permit, state)
        finally:
            state.admission.release(permit)
        headers = [(b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")]
        return [
            {"type": "http.response.start", "status": 200, "headers": headers},
            {"type": "http.response.body", "body": content},
        ]


async def _content(body: PredictRequest, version: PublishedVersion, permit: Permit, state: ServerState) -> bytes:
    inputs = texts_of(body, version.task, version.spec, state.settings.max_inputs)
    check_size(len(inputs), version.spec, body.top_k)
    state.predictor.reserve(permit, inputs, version)
    computed = await state.predictor.predict(
        version, permit, lambda: state.predictor.encode(inputs, version, body.truncation)
    )
    return await build(lambda: to_json(answer_of(computed, body), inf_nan_mode="null"), computed.logits.size)


def _reference(scope: Scope) -> str | None:
    """What stands for {task} in the path of a prediction; None for everything else."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    path = route_path(scope)
    if not path.startswith(_PREFIX) or not path.endswith(_SUFFIX):
        return None
    reference = path[len(_PREFIX) : -len(_SUFFIX)]
    return reference if reference and "/" not in reference else None


async def _recorded(app: ASGIApp, scope: Scope, receive: Receive) -> list[Message]:
    """The messages of an answer, not sent yet."""
    answer: list[Message] = []

    async def record(message: Message) -> None:
        answer.append(message)

    await app(scope, receive, record)
    return answer
