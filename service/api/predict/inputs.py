"""Inputs: from the many ways to write them to texts and pairs, checked against the task."""

from collections.abc import Sequence

from adapters.backbone.text_encoder import TextInput, is_blank
from adapters.config import TaskSpec
from service.api.predict.schemas import Input, PredictOptions, TextObject
from service.errors import InvalidInput

_HOW_PAIR = 'write [["a", "b"]] or {"text": "a", "text_pair": "b"}'


def read_inputs(body: PredictOptions, max_inputs: int) -> list[TextInput]:
    """Return the inputs of a request. Raises InvalidInput when there are none, or more than `max_inputs`."""
    given = body.inputs if isinstance(body.inputs, list) else [body.inputs]
    check_number(given, max_inputs)
    return [_text_input(item) for item in given]


def check_number(inputs: Sequence[object], max_inputs: int, field: str = "inputs") -> None:
    """Raise InvalidInput when `field` holds no inputs, or more than `max_inputs`."""
    if not inputs:
        raise InvalidInput(f"{field} is empty: give at least one text")
    if len(inputs) > max_inputs:
        raise InvalidInput(
            f"{len(inputs)} inputs in one request: at most {max_inputs} are allowed (ADAKRON_MAX_INPUTS)"
        )


def check_options(options: PredictOptions, task: str, spec: TaskSpec) -> None:
    """Raise InvalidInput when an option has no meaning for the task."""
    if options.top_k is not None and spec.type == "regression":
        raise InvalidInput(f"top_k has no meaning for task {task!r}: it is a regression and has no labels")


def check_fit(inputs: Sequence[TextInput], task: str, spec: TaskSpec, how_pair: str = _HOW_PAIR) -> None:
    """Raise InvalidInput when an input is a text and the task takes pairs, or vice versa, or when it is blank.

    `how_pair` says how to write a pair in this protocol.
    """
    for index, item in enumerate(inputs):
        if isinstance(item, tuple) and not spec.pair:
            raise InvalidInput(f"input {index} is a pair, and task {task!r} takes single texts")
        if isinstance(item, str) and spec.pair:
            raise InvalidInput(f"input {index} is a single text, and task {task!r} takes pairs: {how_pair}")
        if any(map(is_blank, (item,) if isinstance(item, str) else item)):
            raise InvalidInput(f"input {index} is empty: it has no visible character")


def _text_input(item: Input) -> TextInput:
    if not isinstance(item, TextObject):
        return item
    return item.text if item.text_pair is None else (item.text, item.text_pair)
