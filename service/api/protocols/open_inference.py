"""The Open Inference Protocol v2 (`/v2`), as KServe and Triton have it: a task is a model, its versions are ours."""

from functools import partial
from importlib.metadata import version as package_version
from typing import Any, cast, get_args

import numpy as np
from fastapi import APIRouter, Request, Response

from adapters.backbone.text_encoder import TextInput, Truncation
from service.api.deps import State
from service.api.examples import KEY_ERRORS, PREDICT_ERRORS, shown
from service.api.http.auth import documented, guarded_route, predict_scope
from service.api.http.errors import Failure
from service.api.http.paths import ModelVersion, Reference
from service.api.http.time_limit import time_limit_parameter
from service.api.predict.inputs import check_fit, check_number
from service.api.predict.responses import build, check_size
from service.api.predict.visit import Admitted, ThisVisit, visited_route
from service.api.protocols.examples import INFER_REQUESTS, INFER_RESPONSE, MODEL, inlined
from service.api.protocols.tensors import InferRequest, OutputWanted, TensorOut, read_request, texts_in, write_answer
from service.core import PublishedVersion
from service.errors import InvalidInput
from service.inference.predictor import Predictions
from service.settings import Settings

_INPUT, _SCORES, _LOGITS = "text", "scores", "logits"
_HOW_CUT = 'the parameter truncation: "right", "left" or "head-tail"'
_HOW_PAIR = "the shape of their tensor is [N, 2]"


def open_inference_routers(settings: Settings) -> list[APIRouter]:
    """Server, models, inference; with ADAKRON_REQUIRE_KEY the last two need a key."""
    return [_server_router(), _model_router(settings), _infer_router(settings)]


def _server_router() -> APIRouter:
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])
    server = {"name": "adakron", "version": package_version("adakron-serve")}
    server_metadata = server | {"extensions": ["binary_tensor_data", "classification"]}

    @router.get("", summary="Server metadata", responses={200: shown(server_metadata)})
    async def metadata() -> dict[str, Any]:
        """Name, version and extensions of the protocol that are understood."""
        return server_metadata

    @router.get("/health/live", summary="Server live", responses={200: shown({"live": True})})
    async def live() -> dict[str, bool]:
        """As `GET /health/live`."""
        return {"live": True}

    @router.get("/health/ready", summary="Server ready", responses=_ready_responses({}))
    async def ready(state: State, response: Response) -> dict[str, bool]:
        """As `GET /health/ready`."""
        response.status_code = 503 if state.draining.is_set() else 200
        return {"ready": not state.draining.is_set()}

    return router


def _model_router(settings: Settings) -> APIRouter:
    route = guarded_route(predict_scope(settings), None)
    errors = {404: PREDICT_ERRORS[404], **(KEY_ERRORS if settings.require_key else {})}
    router = APIRouter(
        prefix="/v2/models/{task}",
        route_class=route,
        tags=["open inference protocol"],
        dependencies=documented(settings),
        responses=errors,
    )

    @router.get("", summary="Model metadata", responses={200: shown(MODEL)})
    async def metadata(task: Reference, state: State) -> dict[str, Any]:
        """Inputs and outputs of a task's live version, and its label names."""
        return _metadata(state, task)

    @router.get("/versions/{version}", summary="Model metadata of a version", responses={200: shown(MODEL)})
    async def version_metadata(task: Reference, version: ModelVersion, state: State) -> dict[str, Any]:
        """The same of one version."""
        return _metadata(state, f"{task}@{version}")

    @router.get("/ready", summary="Model ready", responses=_ready_responses({"name": "sst2"}))
    async def ready(task: Reference, state: State, response: Response) -> dict[str, Any]:
        """200 if it can answer; 503 where its stored bytes are damaged."""
        return _ready(state, task, response)

    @router.get("/versions/{version}/ready", summary="Version ready", responses=_ready_responses({"name": "sst2"}))
    async def version_ready(task: Reference, version: ModelVersion, state: State, response: Response) -> dict[str, Any]:
        """The same of one version."""
        return _ready(state, f"{task}@{version}", response)

    return router


def _infer_router(settings: Settings) -> APIRouter:
    route = visited_route(settings, Failure.body, _reference)
    router = APIRouter(route_class=route, tags=["open inference protocol"], dependencies=documented(settings))
    described: dict[str, Any] = {
        "responses": {200: INFER_RESPONSE, **PREDICT_ERRORS, **(KEY_ERRORS if settings.require_key else {})},
        "response_model": dict[str, Any],
        "openapi_extra": {
            "parameters": [time_limit_parameter(settings)],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": inlined(InferRequest), "examples": INFER_REQUESTS}},
            },
        },
    }

    @router.post("/v2/models/{task}/infer", summary="Infer", **described)
    async def infer(task: Reference, request: Request, visit: ThisVisit, admitted: Admitted) -> Response:
        """One input `text` of BYTES: [N] or [N, 1], for tasks with pairs [N, 2]. Outputs: `scores` (default) and
        `logits`, FP32 [N, number of labels], or with the parameter `classification` = k BYTES [N, k] of
        "score:index:label". Binary tensor data are understood and sent, as Triton has them."""
        return await _infer(request, visit, admitted)

    @router.post("/v2/models/{task}/versions/{version}/infer", summary="Infer by a version", **described)
    async def infer_version(
        task: Reference, version: ModelVersion, request: Request, visit: ThisVisit, admitted: Admitted
    ) -> Response:
        """The same by one version."""
        return await _infer(request, visit, admitted)

    return router


async def _infer(request: Request, visit: ThisVisit, admitted: Admitted) -> Response:
    version, permit = admitted
    max_inputs = visit.state.settings.max_inputs
    header_length = request.headers.get("inference-header-content-length")
    body, rest = read_request(await request.body(), header_length, max_inputs)
    wanted = _wanted(body)
    inputs = _inputs(body, rest, max_inputs)
    check_fit(inputs, version.task, version.spec, _HOW_PAIR)
    truncation = body.parameters.get("truncation")
    if truncation is not None and truncation not in get_args(Truncation):
        raise InvalidInput('the parameter truncation is "right", "left", "head-tail" or "error"')
    size = 0
    for item in wanted:
        size += check_size(len(inputs), version.spec, item.parameters.get("classification"), beside=size)
    visit.state.predictor.reserve(permit, inputs, version)
    encoded = partial(visit.state.predictor.encode, inputs, version, cast(Truncation | None, truncation), _HOW_CUT)
    computed = await visit.state.predictor.predict(version, permit, encoded)
    head = {
        "model_name": version.task,
        "model_version": str(version.version),
        **({} if body.id is None else {"id": body.id}),
        "parameters": {
            "digest": version.digest,
            "num_truncated": sum(encoding.truncated for encoding in computed.encodings),
        },
    }
    binary = body.parameters.get("binary_data_output") is True
    content, headers = await build(
        lambda: write_answer(head, [_output(item, computed, binary) for item in wanted]), computed.logits.size
    )
    return Response(content, headers=headers)


def _wanted(body: InferRequest) -> list[OutputWanted]:
    wanted = body.outputs or [OutputWanted(name=_SCORES)]
    names = [item.name for item in wanted]
    if not set(names) <= {_SCORES, _LOGITS} or len(set(names)) < len(names):
        raise InvalidInput(f"outputs are {_SCORES!r} and {_LOGITS!r}, each once")
    for item in wanted:
        number = item.parameters.get("classification", 1)
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InvalidInput("the parameter classification is a whole number from 1 on")
    return wanted


def _inputs(body: InferRequest, rest: bytes, max_inputs: int) -> list[TextInput]:
    """Texts [N] or [N, 1], pairs [N, 2]."""
    if [tensor.name for tensor in body.inputs] != [_INPUT]:
        raise InvalidInput(f"there is one input, {_INPUT!r}")
    (tensor,) = body.inputs
    texts = texts_in(tensor, rest, max_inputs)
    inputs: list[TextInput] = list(texts)
    if tensor.shape[1:] == [2]:
        inputs = list(zip(texts[::2], texts[1::2], strict=True))
    check_number(inputs, max_inputs)
    return inputs


def _output(wanted: OutputWanted, computed: Predictions, binary: bool) -> TensorOut:
    values = computed.scores(raw_scores=wanted.name == _LOGITS)
    asked = wanted.parameters.get("binary_data")
    number = wanted.parameters.get("classification")
    if number is not None:
        values = _classes(values, computed.version.spec.labels, number)
    return TensorOut(wanted.name, values, binary if asked is None else asked is True)


def _classes(values: np.ndarray, labels: tuple[str, ...], number: int) -> np.ndarray:
    """The best labels of each row, best first, as Triton writes them; a regression has no label."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :number]
    rows = [
        [f"{values[row, index]:f}:{index}" + (f":{labels[index]}" if labels else "") for index in best]
        for row, best in enumerate(order.tolist())
    ]
    return np.array(rows, dtype=object)


def _reference(request: Request) -> str:
    parameters = request.path_params
    version = parameters.get("version")
    return parameters["task"] if version is None else f"{parameters['task']}@{version}"


def _metadata(state: State, reference: str) -> dict[str, Any]:
    version = state.follower.snapshot.resolve(reference)
    return model_metadata(version, list(state.follower.snapshot.tasks[version.task].versions))


def model_metadata(version: PublishedVersion, numbers: list[int]) -> dict[str, Any]:
    """Of `version`, one of `numbers`."""
    spec = version.spec
    output = {"datatype": "FP32", "shape": [-1, spec.num_outputs], "labels": list(spec.labels)}
    return {
        "name": version.task,
        "versions": [str(number) for number in numbers],
        "platform": "adakron",
        "inputs": [{"name": _INPUT, "datatype": "BYTES", "shape": [-1, 2] if spec.pair else [-1]}],
        "outputs": [{"name": name, **output} for name in (_SCORES, _LOGITS)],
    }


def _ready(state: State, reference: str, response: Response) -> dict[str, Any]:
    version = state.follower.snapshot.resolve(reference)
    response.status_code = 503 if version.quarantined else 200
    return {"name": version.task, "ready": not version.quarantined}


def _ready_responses(more: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: shown(more | {"ready": True}), 503: shown(more | {"ready": False}, "Not ready")}
