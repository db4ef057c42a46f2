"""From the many ways to write inputs to texts and pairs, checked against the task."""

from collections.abc import Sequence

from adapters.backbone.text_encoder import TextInput, is_blank
from adapters.config import TaskSpec
from service.api.schemas import Input, PredictOptions, TextObject
from service.errors import InvalidInput

_HOW_PAIR = 'write [["a", "b"]] or {"text": "a", "text_pair": "b"}'


def texts_of(body: PredictOptions, task: str, spec: TaskSpec, max_inputs: int) -> list[TextInput]:
    """The inputs of a request. Raises InvalidInput where they do not fit the task, or say nothing."""
    inputs = plain(body)
    check_number(inputs, max_inputs)
    check_options(body, task, spec)
    check_fit(inputs, task, spec)
    return inputs


def plain(body: PredictOptions) -> list[TextInput]:
    """The inputs of a request, not checked."""
    given = body.inputs if isinstance(body.inputs, list) else [body.inputs]
    return [_plain(item) for item in given]


def check_number(inputs: Sequence[TextInput], max_inputs: int, field: str = "inputs") -> None:
    """Raises InvalidInput where there are none or too many in `field`."""
    if not inputs:
        raise InvalidInput(f"{field} is empty: give at least one text")
    if len(inputs) > max_inputs:
        raise InvalidInput(
            f"{len(inputs)} inputs in one request: at most {max_inputs} are allowed (ADAKRON_MAX_INPUTS)"
        )


def check_options(options: PredictOptions, task: str, spec: TaskSpec) -> None:
    """Raises InvalidInput where they have no meaning for the task."""
    if options.top_k is not None and spec.type == "regression":
        raise InvalidInput(f"top_k has no meaning for task {task!r}: it is a regression and has no labels")


def check_fit(inputs: Sequence[TextInput], task: str, spec: TaskSpec, how_pair: str = _HOW_PAIR) -> None:
    """Raises InvalidInput where an input is not what the task takes, or empty; `how_pair` says how to write a pair."""
    for index, item in enumerate(inputs):
        if isinstance(item, tuple) and not spec.pair:
            raise InvalidInput(f"input {index} is a pair, and task {task!r} takes single texts")
        if isinstance(item, str) and spec.pair:
            raise InvalidInput(f"input {index} is a single text, and task {task!r} takes pairs: {how_pair}")
        if any(map(is_blank, (item,) if isinstance(item, str) else item)):
            raise InvalidInput(f"input {index} is empty: it has no character to read")


def _plain(item: Input) -> TextInput:
    if not isinstance(item, TextObject):
        return item
    return item.text if item.text_pair is None else (item.text, item.text_pair)
