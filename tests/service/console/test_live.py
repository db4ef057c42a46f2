"""The live view: figures, charts and the computation of rates."""

import re
from typing import get_args

import httpx
import pytest
from playwright.sync_api import Route, expect
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from adapters.errors import Reason
from service.api.http.errors import STATUS
from tests.repository.test_docs import HTTP_API, table_keys
from tests.service.console.browser import Console
from tests.service.console.pages import module

NO_VALUE = "\u2013"
NOT_REFUSALS = {
    "client_left",
    "body_cut",
    "validation",
    "inference_failed",
    "unknown_key",
}  # or explained by their message


def test_requests_appear(console: Console) -> None:
    """Requests appear in figures, charts and the table by task; screen readers get the figures as text."""
    console.open("live")
    expect(console.page.locator(".chart")).to_have_count(6)
    expect(console.page.locator("h1 + .hint")).not_to_contain_text("Loading")
    for _ in range(4):
        httpx.post(f"{console.url}/v1/predict", json={"inputs": "a good film", "tasks": ["mood", "topics", "same"]})
    by_task = console.page.get_by_role("region", name="By task")
    expect(by_task).to_contain_text("mood")
    rate = console.page.get_by_role("region", name="Requests").locator(".big")
    assert float(rate.inner_text()) > 0
    assert console.page.get_by_role("region", name="Latency").locator(".big").inner_text().endswith("ms")
    assert (
        float(console.page.get_by_role("region", name="Failures").locator(".big").inner_text()) == 0
    )  # 422 is not a failure
    expect(console.page.get_by_role("region", name="Stages").locator(".legend")).to_contain_text("inference")
    assert console.page.locator(".chart[aria-hidden=true]").count() == 6


def test_metrics_are_polled_only_while_shown(console: Console) -> None:
    """The page polls the metrics only while this view is open."""
    asked = []
    console.page.clock.install()
    console.page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/metrics") else None)
    with console.page.expect_response("**/metrics"):
        console.open("live")
    console.page.get_by_role("link", name="Try").click()
    console.page.wait_for_selector(".option")
    num_asked = len(asked)
    assert num_asked >= 1
    console.page.clock.fast_forward(2300)
    console.page.wait_for_timeout(100)
    assert len(asked) == num_asked


def test_quantiles_are_those_of_prometheus(console: Console) -> None:
    """A percentile between two samples equals histogram_quantile of their difference."""
    console.open()
    buckets = [[0.001, 0], [0.002, 10], [0.004, 30], ["Infinity", 40]]
    body = "(m, a) => a[1].map((q) => m.quantile(q, new Map(a[0].map(([le, n]) => [Number(le), n]))))"
    found = module(console, "rates", body, [buckets, [0.25, 0.5, 0.75, 0.95]])
    assert found == pytest.approx([2.0, 3.0, 4.0, 4.0])
    assert module(console, "rates", "(m) => m.quantile(0.5, new Map([[1, 0], [Infinity, 0]]))") is None


def test_failures_are_those_of_the_server(console: Console) -> None:
    """Only 5xx counts as a failure and only 429 as refused; other 4xx count as neither."""
    console.open()
    body = r"""(m, [older, newer]) => import('/console/exposition.js').then((e) => {
        const read = (text, at) => m.sample(e.parse(text, m.WANTED), at);
        const { rate, failures, refused, tasks } = m.between(read(older, 0), read(newer, 1000));
        return [rate, failures, refused, tasks[0].failures, tasks[0].refused];
    })"""
    codes = {200: 1, 404: 2, 422: 4, 429: 8, 499: 16, 500: 32, 503: 64, 504: 128}
    line = 'adakron_requests_total{{code="{}",task="a"}} {}\n'
    older = "".join(line.format(code, 1000) for code in codes)
    newer = "".join(line.format(code, 1000 + more) for code, more in codes.items())
    failed = 32 + 64 + 128
    assert module(console, "rates", body, [older, newer]) == [sum(codes.values()), failed, 8, failed, 8]


def test_a_chart_shows_its_values(console: Console) -> None:
    """The pointer or the arrow keys on a chart show the values at one time; its scale is above the drawing."""
    console.open("live")
    httpx.post(f"{console.url}/v1/predict", json={"inputs": "a good film", "tasks": ["mood"]})
    card = console.page.get_by_role("region", name="Latency")
    expect(card.locator(".big")).not_to_have_text(NO_VALUE)
    drawing, tip, plot = card.locator(".chart"), card.locator(".tip"), card.get_by_role("slider")
    top, box = card.locator(".top").bounding_box(), drawing.bounding_box()
    assert top is not None
    assert box is not None
    assert top["y"] + top["height"] <= box["y"] + 1
    expect(tip).to_be_hidden()
    drawing.hover(position={"x": box["width"] - 2, "y": 20})
    expect(tip).to_have_text(re.compile(r"^(now|\d+ s ago): median .*, 95th .*"))
    shown = tip.bounding_box()
    assert shown is not None
    assert shown["x"] + shown["width"] < box["x"] + box["width"] / 2 + 60
    console.page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    plot.focus()
    console.page.keyboard.press("Home")
    expect(plot).to_have_attribute("aria-valuenow", "0")
    expect(tip).to_be_visible()
    assert plot.get_attribute("aria-valuetext") == tip.inner_text()
    console.page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_counters_that_decreased(console: Console) -> None:
    """Counters that decreased are left out; unusual task names and the start time are parsed."""
    console.open()
    body = r"""(m, [older, newer]) => import('/console/exposition.js').then((e) => {
        const read = (text, at) => m.sample(e.parse(text, m.WANTED), at);
        const { rate, tasks } = m.between(read(older, 0), read(newer, 2000));
        return [rate, tasks.map((task) => task.name), read(newer, 0).began];
    })"""
    line = 'adakron_requests_total{{code="200",task="{}"}} {}\n'
    began = "process_start_time_seconds 1.7e+09\n"
    older = line.format("a", 100) + line.format("b", 7)
    newer = began + line.format("a", 3) + line.format("b", 9) + line.format('c\\"\\\\', 2)
    assert module(console, "rates", body, [older, newer]) == [2, ["b", 'c"\\'], 1.7e9]


def test_rates_start_again_after_a_restart(console: Console) -> None:
    """After a restart, rates use only new samples, even if the counters are higher than before."""
    samples = iter([(1, 100), (2, 150), *((2, 154 + more) for more in range(100))])

    def answer(route: Route) -> None:
        began, requests = next(samples)
        requested = f'adakron_requests_total{{code="200",task="a"}} {requests}\nadakron_resident_adapters {requests}'
        route.fulfill(body=f"process_start_time_seconds {began}\n{requested}")

    console.page.clock.install()
    console.page.route("**/metrics", answer)
    rate = console.page.get_by_role("region", name="Requests").locator(".big")
    looked = console.page.locator("h1 + .hint")
    console.open("live")
    expect(looked).to_have_text("100 adapters in memory")
    console.page.clock.fast_forward(2000)
    expect(looked).to_have_text("150 adapters in memory")
    assert rate.inner_text() == NO_VALUE
    console.page.clock.fast_forward(2000)
    expect(rate).not_to_have_text(NO_VALUE)
    assert 0 < float(rate.inner_text()) <= 2


def test_the_format_is_that_of_the_server(console: Console) -> None:
    """The console parses the output of prometheus_client."""
    console.open()
    registry = CollectorRegistry()
    histogram = Histogram("adakron_batch_size", "", registry=registry, buckets=(1, 2))
    histogram.observe(2)
    text = generate_latest(registry).decode()
    body = "(m, text) => m.parse(text, new Set(['adakron_batch_size_bucket'])).get('adakron_batch_size_bucket')"
    assert module(console, "exposition", body, text) == [[{"le": "1.0"}, 0], [{"le": "2.0"}, 1], [{"le": "+Inf"}, 1]]


def test_every_refusal_has_a_hint(console: Console) -> None:
    """The console has a remedy for every reason code and every error type without one."""
    console.open()
    codes = [*get_args(Reason), *table_keys(HTTP_API, "Reason codes")]
    body = "(m, codes) => codes.filter((reason) => !m.hintFor({ reason, type: 'upload_refused', status: 422 }))"
    assert module(console, "hints", body, codes) == []
    with_reasons = {
        "unauthorised",
        "forbidden",
        "upload_refused",
        "unsupported_media_type",
        "content_too_large",
        "body_timeout",
    }
    types = [error_type for _, error_type in STATUS.values() if error_type not in NOT_REFUSALS | with_reasons]
    body = "(m, types) => types.filter((type) => !m.hintFor({ reason: '', type, status: 500 }))"
    assert module(console, "hints", body, types) == []
