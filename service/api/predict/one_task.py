"""POST /v1/{task}/predict: texts by one task."""

from fastapi import Response

from service.api.http.errors import INPUTS_HELP
from service.api.predict.context import Endpoint, PredictionContext
from service.api.predict.examples import PREDICT_ERRORS, PREDICT_REQUESTS, PREDICT_RESPONSE
from service.api.predict.inputs import check_fit, check_options, read_inputs, read_key
from service.api.predict.responses import build_response, check_answer_size, to_answer
from service.api.predict.schemas import PredictRequest, PredictResponse


async def predict(context: PredictionContext) -> Response:
    """Classify one text or many.

    `task` is a name from `GET /v1/tasks`; `sst2@7` pins a version, `sst2@canary` an alias. The answer names the
    version and the digest that gave it.
    """
    body, version = context.parse_body(PredictRequest), context.target.version
    inputs = read_inputs(body, context.state.settings.max_inputs)
    check_options(body, version.task, version.spec)
    check_fit(inputs, version.task, version.spec)
    check_answer_size(len(inputs), version.spec, body.top_k)
    key = read_key(body.context, version)
    predictions = await context.predict(context.target, inputs, body.truncation, key=key)
    return await build_response(to_answer(predictions, body), predictions.logits.size)


PREDICT = Endpoint(
    path="/v1/{task}/predict",
    handle=predict,
    request=PredictRequest,
    examples=PREDICT_REQUESTS,
    response=PredictResponse,
    responses={200: PREDICT_RESPONSE, **PREDICT_ERRORS},
    summary="Classify texts",
    tag="predict",
    inputs_help=INPUTS_HELP,
)
