"""From the many ways to write inputs to texts and pairs, checked against the task."""

from adapters.config import TaskSpec
from adapters.encoding import TextInput
from service.api.schemas import Input, PredictRequest, TextObject
from service.errors import InvalidInput

_HOW_PAIR = 'write [["a", "b"]] or {"text": "a", "text_pair": "b"}'


def texts_of(body: PredictRequest, task: str, spec: TaskSpec, max_inputs: int) -> list[TextInput]:
    """The inputs of a request. Raises InvalidInput where they do not fit the task, or say nothing."""
    given = body.inputs if isinstance(body.inputs, list) else [body.inputs]
    if not given:
        raise InvalidInput("inputs is empty: give at least one text")
    if len(given) > max_inputs:
        raise InvalidInput(f"{len(given)} inputs in one request: at most {max_inputs} are allowed (ADAKRON_MAX_INPUTS)")
    if body.top_k is not None and spec.type == "regression":
        raise InvalidInput(f"top_k has no meaning for task {task!r}: it is a regression and has no labels")
    inputs = [_plain(item) for item in given]
    for index, item in enumerate(inputs):
        if isinstance(item, tuple) and not spec.pair:
            raise InvalidInput(f"input {index} is a pair, and task {task!r} takes single texts")
        if isinstance(item, str) and spec.pair:
            raise InvalidInput(f"input {index} is a single text, and task {task!r} takes pairs: {_HOW_PAIR}")
        if not all(text.strip() for text in ([item] if isinstance(item, str) else item)):
            raise InvalidInput(f"input {index} is empty")
    return inputs


def _plain(item: Input) -> TextInput:
    if not isinstance(item, TextObject):
        return item
    return item.text if item.text_pair is None else (item.text, item.text_pair)
