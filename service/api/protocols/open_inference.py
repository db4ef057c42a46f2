"""The Open Inference Protocol v2 (`/v2`) of KServe and Triton: a task is a model, its versions are the model's."""

from importlib.metadata import version as package_version
from typing import Any, get_args

import numpy as np
from fastapi import APIRouter, Response

from adapters.backbone.text_encoder import TextInput, Truncation
from service.api.http.auth import documented, predict_scope, protected_route
from service.api.http.openapi import KEY_ERRORS, UNKNOWN_TASK, ModelVersion, Reference, Responses, shown
from service.api.predict.context import Endpoint, PredictionContext
from service.api.predict.examples import PREDICT_ERRORS
from service.api.predict.inputs import check_fit, check_number, read_key
from service.api.predict.responses import check_answer_size, run_if_large_in_thread
from service.api.protocols.examples import INFER_REQUESTS, INFER_RESPONSE, MODEL
from service.api.protocols.tensors import (
    HEADER_LENGTH,
    InferRequest,
    OutputWanted,
    TensorOut,
    read_request,
    texts_in,
    write_answer,
)
from service.api.state import ServerState, State
from service.core import PublishedVersion
from service.errors import InvalidInput
from service.inference.predictor import Predictions
from service.settings import Settings

_TAG = "open inference protocol"
_INPUT, _SCORES, _LOGITS = "text", "scores", "logits"
_HOW_CUT = 'the parameter truncation: "right", "left" or "head-tail"'
_CONTEXT = "context."  # begins the name of a parameter that is a field of the context
_HOW_PAIR = "the shape of their tensor is [N, 2]"


def open_inference_routers(settings: Settings) -> list[APIRouter]:
    """Return the routes for the server and for models; with ADAKRON_REQUIRE_KEY the latter require a key."""
    return [_server_router(), _model_router(settings)]


def _server_router() -> APIRouter:
    router = APIRouter(prefix="/v2", tags=[_TAG])
    server = {"name": "adakron", "version": package_version("adakron-serve")}
    server_metadata = server | {"extensions": ["binary_tensor_data", "classification"]}

    @router.get("", summary="Server metadata", responses={200: shown(server_metadata)})
    async def metadata() -> dict[str, Any]:
        """Name, version and supported extensions of the protocol."""
        return server_metadata

    @router.get("/health/live", summary="Server live", responses={200: shown({"live": True})})
    async def live() -> dict[str, bool]:
        """Answer as `GET /health/live` does."""
        return {"live": True}

    @router.get("/health/ready", summary="Server ready", responses=_ready_responses({}))
    async def ready(state: State, response: Response) -> dict[str, bool]:
        """Answer as `GET /health/ready` does."""
        is_ready = not state.draining.is_set() and state.find_hang() is None
        response.status_code = 200 if is_ready else 503
        return {"ready": is_ready}

    return router


def _model_router(settings: Settings) -> APIRouter:
    route = protected_route(predict_scope(settings), None)
    errors = {404: UNKNOWN_TASK, **(KEY_ERRORS if settings.require_key else {})}
    router = APIRouter(
        prefix="/v2/models/{task}",
        route_class=route,
        tags=[_TAG],
        dependencies=documented(settings),
        responses=errors,
    )

    @router.get("", summary="Model metadata", responses={200: shown(MODEL)})
    async def metadata(task: Reference, state: State) -> dict[str, Any]:
        """Inputs and outputs of a task's live version, and its label names."""
        return _metadata(state, task)

    @router.get("/versions/{version}", summary="Model metadata of a version", responses={200: shown(MODEL)})
    async def version_metadata(task: Reference, version: ModelVersion, state: State) -> dict[str, Any]:
        """Inputs and outputs of one version, and its label names."""
        return _metadata(state, f"{task}@{version}")

    @router.get("/ready", summary="Model ready", responses=_ready_responses({"name": "sst2"}))
    async def ready(task: Reference, state: State, response: Response) -> dict[str, Any]:
        """200 if the version can answer; 503 if its stored bytes are damaged."""
        return _ready(state, task, response)

    @router.get("/versions/{version}/ready", summary="Version ready", responses=_ready_responses({"name": "sst2"}))
    async def version_ready(task: Reference, version: ModelVersion, state: State, response: Response) -> dict[str, Any]:
        """200 if this version can answer; 503 if its stored bytes are damaged."""
        return _ready(state, f"{task}@{version}", response)

    return router


async def infer(context: PredictionContext) -> Response:
    """One input `text` of BYTES: [N] or [N, 1], for tasks with pairs [N, 2].

    Outputs: `scores` (default) and `logits`, FP32 [N, number of labels], or with the parameter `classification` = k
    BYTES [N, k] of "score:index:label". Binary tensor data are understood and sent, as Triton has them.
    """
    version, max_inputs = context.target.version, context.state.settings.max_inputs
    body, rest = read_request(context.body, context.header(HEADER_LENGTH), max_inputs)
    wanted = _outputs_wanted(body)
    inputs = _read_inputs(body, rest, max_inputs)
    check_fit(inputs, version.task, version.spec, _HOW_PAIR)
    truncation: Truncation | None = body.parameters.get("truncation")
    if truncation is not None and truncation not in get_args(Truncation):
        raise InvalidInput('the parameter truncation must be "right", "left", "head-tail" or "error"')
    key = read_key(_context(body), version)
    size = 0
    for item in wanted:
        size += check_answer_size(len(inputs), version.spec, item.parameters.get("classification"), beside=size)
    predictions = await context.predict(context.target, inputs, truncation, _HOW_CUT, key=key)
    head = {
        "model_name": version.task,
        "model_version": str(version.version),
        **({} if body.id is None else {"id": body.id}),
        "parameters": {
            "digest": version.digest,
            **({} if predictions.gate is None else {"gate": predictions.gate}),
            "num_truncated": sum(encoding.truncated for encoding in predictions.encodings),
        },
    }
    binary = body.parameters.get("binary_data_output") is True
    content, headers = await run_if_large_in_thread(
        lambda: write_answer(head, [_output(item, predictions, binary) for item in wanted]), predictions.logits.size
    )
    return Response(content, headers=headers)


async def infer_version(context: PredictionContext) -> Response:
    """Infer by one version of the task."""
    return await infer(context)


INFER, INFER_VERSION = (
    Endpoint(
        path=path,
        handle=handle,
        request=InferRequest,
        examples=INFER_REQUESTS,
        response=dict[str, Any],
        responses={200: INFER_RESPONSE, **PREDICT_ERRORS},
        summary=summary,
        tag=_TAG,
        takes_json=False,
    )
    for path, handle, summary in (
        ("/v2/models/{task}/infer", infer, "Infer"),
        ("/v2/models/{task}/versions/{version}/infer", infer_version, "Infer by a version"),
    )
)


def _outputs_wanted(body: InferRequest) -> list[OutputWanted]:
    wanted = body.outputs or [OutputWanted(name=_SCORES)]
    names = [item.name for item in wanted]
    if not set(names) <= {_SCORES, _LOGITS} or len(set(names)) < len(names):
        raise InvalidInput(f"outputs must be {_SCORES!r} or {_LOGITS!r}, each at most once")
    for item in wanted:
        number = item.parameters.get("classification", 1)
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InvalidInput("the parameter classification must be a whole number from 1 on")
    return wanted


def _context(body: InferRequest) -> dict[str, str] | None:
    """Return the context in the parameters, such as "context.user"; None without one. Raises InvalidInput."""
    context = {}
    if body.parameters.get("context") is not None:
        raise InvalidInput('the parameter context is not read: name its field, such as "context.user": "u17"')
    for name, value in body.parameters.items():
        if name.startswith(_CONTEXT):
            if not isinstance(value, str):
                raise InvalidInput(f"the parameter {name[:80]} must be a string")
            context[name.removeprefix(_CONTEXT)] = value
    return context or None


def _read_inputs(body: InferRequest, rest: bytes, max_inputs: int) -> list[TextInput]:
    """Return texts from a tensor [N] or [N, 1], pairs from [N, 2]."""
    if [tensor.name for tensor in body.inputs] != [_INPUT]:
        raise InvalidInput(f"the request must have one input, {_INPUT!r}")
    (tensor,) = body.inputs
    texts = texts_in(tensor, rest, max_inputs)
    inputs: list[TextInput] = list(texts)
    if tensor.shape[1:] == [2]:
        inputs = list(zip(texts[::2], texts[1::2], strict=True))
    check_number(inputs, max_inputs)
    return inputs


def _output(wanted: OutputWanted, predictions: Predictions, binary: bool) -> TensorOut:
    values = predictions.scores(raw_scores=wanted.name == _LOGITS)
    asked = wanted.parameters.get("binary_data")
    number = wanted.parameters.get("classification")
    if number is not None:
        values = _classes(values, predictions.version.spec.labels, number)
    return TensorOut(wanted.name, values, binary if asked is None else asked is True)


def _classes(values: np.ndarray, labels: tuple[str, ...], number: int) -> np.ndarray:
    """Return the best labels of each row as Triton writes them, "score:index:label"; a regression has no label."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :number]
    rows = [
        [f"{values[row, index]:f}:{index}" + (f":{labels[index]}" if labels else "") for index in best]
        for row, best in enumerate(order.tolist())
    ]
    return np.array(rows, dtype=object)


def _metadata(state: ServerState, reference: str) -> dict[str, Any]:
    version = state.follower.snapshot.resolve(reference)
    return model_metadata(version, list(state.follower.snapshot.tasks[version.task].versions))


def model_metadata(version: PublishedVersion, numbers: list[int]) -> dict[str, Any]:
    """Describe `version` of a task with the versions `numbers`."""
    spec = version.spec
    output = {"datatype": "FP32", "shape": [-1, spec.num_outputs], "labels": list(spec.labels)}
    return {
        "name": version.task,
        "versions": [str(number) for number in numbers],
        "platform": "adakron",
        "inputs": [{"name": _INPUT, "datatype": "BYTES", "shape": [-1, 2] if spec.pair else [-1]}],
        "outputs": [{"name": name, **output} for name in (_SCORES, _LOGITS)],
    }


def _ready(state: ServerState, reference: str, response: Response) -> dict[str, Any]:
    version = state.follower.snapshot.resolve(reference)
    response.status_code = 503 if version.quarantined else 200
    return {"name": version.task, "ready": not version.quarantined}


def _ready_responses(more: dict[str, Any]) -> Responses:
    return {200: shown(more | {"ready": True}), 503: shown(more | {"ready": False}, "Not ready")}
