"""Inputs: from the many ways to write them to texts and pairs, checked against the task."""

from collections.abc import Mapping, Sequence

from adapters.backbone.text_encoder import TextInput, is_blank
from adapters.config import TaskSpec
from adapters.errors import GateKeyError
from service.api.predict.schemas import Input, PredictOptions, TextObject
from service.core import PublishedVersion
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


def read_key(context: Mapping[str, str] | None, version: PublishedVersion) -> bytes | None:
    """Return the salted digest of the key that `context` has for `version`; None without a context, for the mean gate.

    The key itself goes no further. Raises InvalidInput when the version has no gates, or gates of another field, or
    when no such key can exist.
    """
    if context is None:
        return None
    if version.gates is None:
        raise InvalidInput(f"task {version.task!r} takes no context: its adapter has no gates; leave context out")
    for name in context:
        if name != version.gates.field:
            raise InvalidInput(
                f"context has the field {name[:64]!r}; that of task {version.task!r} is {version.gates.field!r}"
            )
    return read_own_key(context, version)


def read_own_key(context: Mapping[str, str] | None, version: PublishedVersion) -> bytes | None:
    """Return the salted digest of the key in the field of `version`, whatever other fields there are; None without it.

    Raises InvalidInput when no such key can exist.
    """
    if context is None or version.gates is None or (key := context.get(version.gates.field)) is None:
        return None
    try:
        return version.gates.digest(key)
    except GateKeyError as error:
        raise InvalidInput(f"context.{version.gates.field}: {error}") from None


def check_fields_used(context: Mapping[str, str], versions: Sequence[PublishedVersion]) -> None:
    """Raise InvalidInput when `context` has a field by which none of `versions`, those of the request, has gates."""
    fields = sorted({version.context_field for version in versions if version.context_field is not None})
    for name in context:
        if name not in fields:
            known = f"; they have {', '.join(map(repr, fields[:8]))}" if fields else ": none has gates"
            raise InvalidInput(f"context has the field {name!r}, by which no task of this request has gates{known}")


def _text_input(item: Input) -> TextInput:
    if not isinstance(item, TextObject):
        return item
    return item.text if item.text_pair is None else (item.text, item.text_pair)
