"""Recipes: hyper-parameters that go together. Options may change each of them."""

from dataclasses import dataclass
from typing import Literal

from adapters.config import Pooling

Method = Literal[
    "adakron",
    "madakron-partial",
    "madakron-full",
    "pfeiffer",
    "houlsby",
    "adamix",
    "lora",
    "prefix-tuning",
    "unipelt-ap",
    "unipelt-apl",
    "bitfit",
    "full",
    "head",
]
RecipeName = Literal["default", "paper"]
Initialisation = Literal[
    "published", "identity", "scaled", "unit"
]  # as in adapters.method.adakron, which imports torch


@dataclass(frozen=True)
class Recipe:
    """The hyper-parameters of a training; the adapter file records them."""

    initialisation: Initialisation
    learning_rate: float
    weight_decay: float
    batch_size: int  # sequences per device and step
    epochs: int
    patience: int  # evaluations without a better score before training stops
    max_length: int  # tokens
    pooling: Pooling | None  # None: the backbone decides, see prepare.py
    dropout: float
    label_smoothing: float = 0.0  # share of a target spread over all classes
    warmup: float = 0.06  # share of the steps, then linear decay
    clip: float = 1.0  # largest norm of the gradient


RECIPES: dict[RecipeName, Recipe] = {
    # the best one on GLUE with the default backbone: docs/method.md
    "default": Recipe(
        initialisation="unit",
        learning_rate=7e-4,
        weight_decay=0.01,
        batch_size=32,
        epochs=10,
        patience=4,
        max_length=128,
        pooling=None,
        dropout=0.0,
    ),
    # Braga et al. 2024, section 4
    "paper": Recipe(
        initialisation="published",
        learning_rate=1e-3,
        weight_decay=0.1,
        batch_size=64,
        epochs=20,
        patience=20,
        max_length=128,
        pooling="pooler",
        dropout=0.1,
    ),
}

SERVABLE: tuple[Method, ...] = ("adakron", "madakron-partial", "madakron-full")  # they make an AdaKron adapter
WITHOUT_BOTTLENECK: tuple[Method, ...] = ("lora", "prefix-tuning", "bitfit", "full", "head")

# Changes for other methods. The first three are the best of a search on GLUE with the default backbone: docs/method.md.
# The others lack a search: they are the middle of the rates that benchmarks/glue/grid.py tries.
CHANGES: dict[Method, dict[str, float]] = {
    "madakron-full": {"learning_rate": 3e-3},  # each expert is trained in some of the steps only
    "full": {"learning_rate": 8e-5, "dropout": 0.1},
    "head": {"learning_rate": 5e-3},
    "houlsby": {"learning_rate": 1.5e-3},
    "adamix": {"learning_rate": 1.5e-3},
    "lora": {"learning_rate": 1e-3},
    "prefix-tuning": {"learning_rate": 5e-3},
    "unipelt-ap": {"learning_rate": 1.5e-3},
    "unipelt-apl": {"learning_rate": 1.5e-3},
    "bitfit": {"learning_rate": 2e-3},
}
