"""Tests that benefit from repetition: a few cases in `make test`, very many in `make test-long`."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from tests.support.paths import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "reliability.json"
Record = Callable[..., None]


@pytest.fixture(scope="session")
def is_long(pytestconfig: pytest.Config) -> bool:
    """True for `make test-long`."""
    return bool(pytestconfig.getoption("--long"))


@pytest.fixture
def record(request: pytest.FixtureRequest, is_long: bool) -> Iterator[Record]:
    """`record(cases=..., accepted=...)` saves the figures and duration of a test that passed in full."""
    figures: dict[str, object] = {}
    started = time.monotonic()
    yield lambda **found: figures.update(found)
    if is_long and not request.session.testsfailed and figures:
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        taken = {"date": datetime.now(UTC).date().isoformat(), "seconds": round(time.monotonic() - started)}
        known[request.node.name] = figures | taken
        RESULTS.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")
