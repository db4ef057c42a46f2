"""LabelCounts: the labels that each version has answered."""

from datetime import UTC, datetime

import numpy as np
import pytest

from adapters.method.heads import decode
from service.core import PublishedVersion
from service.dispatch.label_counts import LabelCounts
from service.registry.catalog import published
from tests.support.factories import make_adapter

LABELS = ("sad", "happy", "odd")


def of_adapter(**options: object) -> PublishedVersion:
    """A version as the registry has it."""
    adapter = make_adapter(**options)
    return published("mood", 1, adapter.digest, adapter.metadata, 1, datetime.now(UTC))


@pytest.mark.parametrize("type", ["single_label", "multi_label"])
def test_counts_are_those_of_the_answers(type: str) -> None:
    """Counts from logits are those of the clients' answers, with any temperature."""
    version = of_adapter(type=type, labels=LABELS, temperature=3.0)
    logits = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    logits[0] = 0  # a tie; 0.5 exactly
    counts = LabelCounts()
    counts.add(version.adapter, logits[:200])
    counts.add(version.adapter, logits[200:])
    counted = counts.of(version.digest)
    assert counted is not None
    outputs = decode(logits, version.spec, raw_scores=False)
    given = [label for one in outputs for label in ([one.label] if type == "single_label" else one.labels)]
    assert counted.totals.tolist() == [given.count(label) for label in LABELS]


def test_what_is_deleted_is_forgotten() -> None:
    """Counts of versions that are no longer published take no memory."""
    version, other = of_adapter(), of_adapter(seed=1)
    counts = LabelCounts()
    for one in (version, other):
        counts.add(one.adapter, np.zeros((1, 2), np.float32))
    counts.on_registry_change([other.digest])
    assert counts.of(version.digest) is None
    assert counts.of(other.digest) is not None


def test_values_of_a_regression_are_added_up() -> None:
    """A regression has the sum of its values, in float64: a million values lose nothing."""
    version, counts = of_adapter(type="regression", labels=()), LabelCounts()
    values = np.full((1000, 1), 0.1, dtype=np.float32)
    for _ in range(1000):
        counts.add(version.adapter, values)
    counted = counts.of(version.digest)
    assert counted is not None
    assert counted.num_inputs == 10**6
    assert counted.totals == pytest.approx([10**6 * float(np.float32(0.1))], rel=1e-12)
