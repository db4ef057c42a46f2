"""A rejection from the head alone leaves the same traces, whether or not it is logged."""

import logging
import re

import pytest

from service.settings import Settings
from tests.support.connections import Line, request

REFUSED = request(b"Content-Length: 5\r\n", b"hello", path=b"/v1/full/predict")


async def counted(settings: Settings) -> dict[tuple[str, ...], float]:
    """Refuse three requests, and return what the metrics count of them."""
    line = Line(settings=settings)
    await line.send(REFUSED * 3)
    assert line.statuses == [429] * 3
    await line.close()
    names = ("adakron_errors", "adakron_rejected", "adakron_requests", "adakron_request_duration_seconds")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in line.metrics.families()
        for sample in metric.samples
        if metric.name in names and sample.value and not sample.name.endswith(("_sum", "_bucket"))
    }


@pytest.mark.parametrize("changed", [{"access_log": True}, {"slow_request_s": 1e-9}], ids=str)
async def test_logged_or_not(changed: dict[str, object], caplog: pytest.LogCaptureFixture) -> None:
    """The metrics are the same; with an access log, or if a refusal is slow, there is one line for each."""
    caplog.set_level(logging.INFO, "service.access")
    silent = await counted(Settings(access_log=False))
    assert not caplog.records
    assert silent == await counted(Settings(**changed))  # type: ignore[arg-type]  # fields by name
    assert len(caplog.records) == 3
    assert silent["adakron_errors_total", "overloaded"] == silent["adakron_rejected_total", "queued_requests"] == 3
    assert silent["adakron_request_duration_seconds_count", "_other"] == 3


async def test_ids_are_each_request_s_own() -> None:
    """Responses of prebuilt parts have the id of their request, and differ in nothing else."""
    line = Line()
    mine = REFUSED.replace(b"Host: x\r\n", b"Host: x\r\nX-Request-Id: mine\r\n")
    await line.send(REFUSED + mine + REFUSED)
    ids = re.findall(rb"x-request-id: (\S+)\r\n", bytes(line.wire.sent))
    assert ids[1] == b"mine"
    assert len({*ids}) == 3
    answers = {re.sub(rb"x-request-id: \S+", b"", one) for one in bytes(line.wire.sent).split(b"HTTP/1.1 ")[1:]}
    assert len(answers) == 1
    await line.close()
