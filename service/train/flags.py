"""Options and Flag: groups of options whose declarations the command line is built from."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from adapters.config import GATE_FIELD_PATTERN, MAX_LABEL_CHARS, is_label_text
from service.train.errors import TrainingError, shorten


@dataclass(frozen=True)
class Flag:
    """How the command line shows an option."""

    panel: str  # the group of the help that lists it
    help: str
    name: str | None = None  # if the field has another name: --init
    variables: tuple[str, ...] = ()  # environment variables that set it


def _split_names(value: Any) -> Any:
    """The names in `a, b,c`; a tuple is one already."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value or ()


def _check_label_names(names: tuple[str, ...]) -> tuple[str, ...]:
    odd = next((name for name in names if len(name) > MAX_LABEL_CHARS or not is_label_text(name)), None)
    if odd is not None:
        raise TrainingError(f"--label-names: {odd[:40]!r} is not 1 to {MAX_LABEL_CHARS} printable characters")
    if len(set(names)) < len(names):
        raise TrainingError("--label-names: a name occurs twice; give each class its own")
    return names


def _check_encoding(name: str | None) -> str | None:
    try:
        "a".encode("utf-8" if name is None else name)
    except (LookupError, ValueError):
        raise TrainingError(f"--encoding {name}: unknown encoding; use one of Python's, such as cp1252") from None
    return name


def _check_gate(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(GATE_FIELD_PATTERN, name):
        raise TrainingError(
            f"--gate {shorten(name)}: requests name the column; rename it to at most 64 letters, digits and _"
        )
    return name


Names = Annotated[tuple[str, ...], BeforeValidator(_split_names)]
LabelNames = Annotated[Names, AfterValidator(_check_label_names)]
GATE_FIELD = AfterValidator(_check_gate)
KNOWN_ENCODING = AfterValidator(_check_encoding)


class Options(BaseModel):
    """A frozen group of options. Raises TrainingError, in one line, for a value outside of its type or bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            fault = error.errors()[0]
            name = str(fault["loc"][0])
            flags = cls.flags()
            shown = (flags[name][1].name if name in flags else None) or name.replace("_", "-")
            said = fault["msg"].replace("Input should", "it must")
            raise TrainingError(f"--{shown} {str(fault['input'])[:40]}: {said}") from None

    @classmethod
    def flags(cls) -> dict[str, tuple[FieldInfo, Flag]]:
        """The options of this group by the names of their fields."""
        return {
            name: (field, item)
            for name, field in cls.model_fields.items()
            for item in field.metadata
            if isinstance(item, Flag)
        }

    def change(self, **values: Any) -> Self:
        """A copy with other values, checked again."""
        return type(self)(**dict(self) | values)
