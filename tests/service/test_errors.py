"""The exceptions of the service cross to other processes."""

import inspect
import pickle
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest

import service.hub.errors
import service.train.errors  # noqa: F401  # defines further subclasses
from service import errors
from service.errors import ServiceError

EXAMPLES: dict[Any, Any] = {
    str: "text \n with ü",
    float: 1.5,
    int: 3,
    tuple[str, ...]: ("near", "nearer"),
}


def tree(parent: type[ServiceError]) -> Iterator[type[ServiceError]]:
    """Yield the class and all below it."""
    yield parent
    for child in parent.__subclasses__():
        yield from tree(child)


def example(kind: type[ServiceError]) -> ServiceError:
    """Make an exception of that class; its constructor may take more than a message."""
    signature = inspect.signature(kind.__init__)
    if any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in signature.parameters.values()):
        return kind("a message")
    hints = get_type_hints(kind.__init__)
    names = [name for name in signature.parameters if name != "self"]
    return kind(*(EXAMPLES.get(hints[name], {"version": 3, "changes": ["a"]}) for name in names))


@pytest.mark.parametrize("kind", sorted(set(tree(ServiceError)), key=lambda kind: kind.__qualname__))
def test_an_error_survives_the_way_to_another_process(kind: type[ServiceError]) -> None:
    """Its class, message and attributes are the same behind pickle, whatever its constructor takes."""
    error = example(kind)
    error.added_later = ["by a handler"]  # type: ignore[attr-defined]
    for protocol in (2, 5):
        copy = pickle.loads(pickle.dumps(error, protocol=protocol))
        assert type(copy) is kind
        assert (str(copy), copy.args) == (str(error), error.args)
        assert copy.__dict__ == error.__dict__


def test_a_cause_stays_behind() -> None:
    """A traceback and a cause that cannot be pickled do not keep an error from being sent."""
    try:
        try:
            raise ValueError(lambda: None)
        except ValueError as cause:
            raise errors.Overloaded("full", retry_after_s=2, reason="queued_tokens") from cause
    except errors.Overloaded as raised:
        copy = pickle.loads(pickle.dumps(raised))
    assert (copy.retry_after_s, copy.reason, copy.__cause__) == (2, "queued_tokens", None)
