"""benchmarks.serving.one_client: every request is followed through the processes of a server."""

import numpy as np

from benchmarks.serving import one_client
from benchmarks.serving.one_client import STAGES, ask, collecting, follow, stage_rows
from benchmarks.serving.server import serving

CLOCKS_MS = 50  # a span's two clocks are read one after the other, and the process may be interrupted between them


def test_a_request_is_followed_from_its_client_through_all_processes() -> None:
    """The stages follow each other, and the stages together are the whole request."""
    with collecting() as collector, serving(one_client.NUM_TASKS) as server:
        asked = ask(server.port, ["a warm, funny film", "dull"], "test")
        times = follow(asked, collector)
    for one in times:
        durations_ms = np.diff([one[name] for name, _ in STAGES]) / 1e6
        assert (durations_ms > -CLOCKS_MS).all()
    rows = stage_rows(times[:1])
    parts = [row["p50 ms"] for row in rows]
    assert len(rows) == len(STAGES)
    assert abs(sum(parts[:-1]) - parts[-1]) < 1e-6  # type: ignore[arg-type, operator]
