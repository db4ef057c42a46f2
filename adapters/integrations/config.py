"""AdaKronConfig: the shape of the adapters in a model of another library, and the modules of the model that learn."""

from dataclasses import dataclass
from typing import get_args

from adapters.config import Pooling
from adapters.errors import AdapterError
from adapters.method.adakron import AdaKron, Initialisation, MAdaKron


class IntegrationError(AdapterError):
    """A config, a model and a file do not fit together; the message is one line with the remedy."""


@dataclass(frozen=True)
class AdaKronConfig:
    """The shape of the adapters, and the modules that learn beside them.

    `r` is the bottleneck, a multiple of `q`. `experts_a` or `experts_b` over 1 make the adapters mixtures (MAdaKron)
    for W_a or W_b. `target_modules` are ends of module names in which `*` stands for a number; None takes those of
    the family of the model. `modules_to_save` are names of other modules that learn and are saved; None takes the task
    heads `classifier`, `pre_classifier`, `score` and `qa_outputs`. `pooling` is for a BertForSequenceClassification;
    None leaves the own pooling of the model. Raises IntegrationError for values that do not fit together.
    """

    r: int = 48
    q: int = 4
    initialisation: Initialisation = "unit"
    experts_a: int = 1
    experts_b: int = 1
    target_modules: tuple[str, ...] | None = None
    modules_to_save: tuple[str, ...] | None = None
    pooling: Pooling | None = None

    def __post_init__(self) -> None:
        for field in ("r", "q", "experts_a", "experts_b"):
            if getattr(self, field) < 1:
                raise IntegrationError(f"{field}={getattr(self, field)}: it must be at least 1")
        if self.r % self.q:
            raise IntegrationError(f"r={self.r} is not a multiple of q={self.q}: choose r = p * q")
        choices = (("initialisation", get_args(Initialisation)), ("pooling", (None, *get_args(Pooling))))
        for field, allowed in choices:
            if getattr(self, field) not in allowed:
                names = ", ".join(map(str, allowed))
                raise IntegrationError(f"{field}={getattr(self, field)!r}: choose one of {names}")
        for field in ("target_modules", "modules_to_save"):
            given = getattr(self, field)
            if isinstance(given, str):
                raise IntegrationError(f"{field}={given!r} is one text: write ({given!r},)")
            if given is not None:
                object.__setattr__(self, field, tuple(given))

    @property
    def p(self) -> int:
        """Width of W_a's output."""
        return self.r // self.q

    def make_adapter(self, hidden_size: int) -> AdaKron | MAdaKron:
        """Make a new adapter for vectors of `hidden_size` numbers, not yet initialised."""
        if self.experts_a == self.experts_b == 1:
            return AdaKron(hidden_size, self.p, self.q)
        return MAdaKron(hidden_size, self.p, self.q, experts_a=self.experts_a, experts_b=self.experts_b)
