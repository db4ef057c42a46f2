"""benchmarks.peers: types of a server are compared, and the best of each side counts."""

import json
from pathlib import Path

import pytest

from benchmarks import report as reports
from benchmarks.peers.catalogue import compared
from benchmarks.peers.contestant import TOLERANCE, TOLERANCE_16_BITS, Contestant
from benchmarks.peers.measure import Measured
from benchmarks.peers.ours import our_contestant, our_dtypes
from benchmarks.peers.summary import summarise


def measured(requests_per_s: float, p99_ms: float) -> list[Measured]:
    return [Measured(requests_per_s, 1.0, p99_ms, 1.0, 1, 0, 0.0)] * 3


def no_versions(contestant: Contestant) -> Contestant:
    object.__setattr__(contestant, "versions", dict)  # those of a peer need its environment
    return contestant


def test_the_best_types_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ratio is this server's best type over each row; the target takes the best row of the peers."""
    monkeypatch.setattr(reports, "RESULTS", tmp_path)
    ours = [our_contestant("float32"), our_contestant("bfloat16")]
    peers = [no_versions(one) for one in (*compared("litserve"), *compared("adapterhub"))]
    assert [one.name for one in peers] == ["litserve", "litserve bfloat16", "adapterhub", "adapterhub bfloat16"]
    speeds = [200.0, 600.0, 100.0, 150.0, 50.0, 40.0]
    found = {one.name: measured(speed, 1000 / speed) for one, speed in zip([*ours, *peers], speeds, strict=True)}
    summarise([*ours, *peers], found, ["a film"], {}, seconds=1)
    result = json.loads((tmp_path / "peers.json").read_text())
    assert [row["ours / this"] for row in result["rows"]] == [3, 1, 6, 4, 12, 15]
    assert [target["value"] for target in result["targets"]] == [4, pytest.approx(0.25)]
    assert "litserve bfloat16" in result["targets"][0]["claim"]


def test_without_this_server_nothing_is_compared() -> None:
    """If all of its types were dropped, the message says why."""
    peers = compared("litserve")
    with pytest.raises(SystemExit, match=r"adakron float32 it ended with 2"):
        summarise(
            peers, {one.name: measured(1, 1) for one in peers}, [], {"adakron float32": "it ended with 2"}, seconds=1
        )


def test_answers_of_other_types_have_another_tolerance() -> None:
    """bfloat16 is compared with float32 by what 16 bits allow."""
    assert [one.tolerance for one in compared("litserve")] == [TOLERANCE, TOLERANCE_16_BITS]
    assert our_contestant("float32").tolerance == TOLERANCE
    assert our_contestant("bfloat16").tolerance == TOLERANCE_16_BITS
    assert {"float32", "bfloat16"} <= set(our_dtypes())
