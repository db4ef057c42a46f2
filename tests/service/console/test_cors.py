"""A page of another origin calls the server from a real browser."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from adapters.backbone.source import LoadedBackbone
from tests.service.console.conftest import Shelf
from tests.support.serving import KEY, Listening, listening

CALL = """async ([url, key]) => {
  try {
    const headers = { "Content-Type": "application/json", "X-Request-Id": "of-a-page" };
    if (key) headers.Authorization = `Bearer ${key}`;
    const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify({ inputs: "a good film" }) });
    return [answer.status, answer.headers.get("X-Request-Id"), (await answer.json()).error_type ?? "none"];
  } catch (error) { return [0, null, error.name]; }
}"""


@pytest.fixture(scope="module")
def open_to_pages(
    server: Listening, tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Listening]:
    """A server that requires a key and allows the origin of `server`."""
    folder = tmp_path_factory.mktemp("cors")
    origin = f"http://127.0.0.1:{server.port}"
    with (
        listening(tiny, folder, cors_origins=origin, require_key=True) as opened,
        closing(Shelf(tiny, folder)) as shelf,
    ):
        shelf.put("mood")
        yield opened


@pytest.fixture
def page(browser: Browser, server: Listening) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/health/live")
    yield page
    page.close()


def call(page: Page, port: int, task: str = "mood", key: str = KEY) -> Any:
    return page.evaluate(CALL, [f"http://127.0.0.1:{port}/v1/{task}/predict", key])


def test_a_page_reads_answers_and_errors(page: Page, open_to_pages: Listening) -> None:
    """A page of an allowed origin reads answers and errors with their request id, after a preflight."""
    assert call(page, open_to_pages.port) == [200, "of-a-page", "none"]
    assert call(page, open_to_pages.port, task="nothing") == [404, "of-a-page", "unknown_task"]
    assert call(page, open_to_pages.port, key="") == [401, "of-a-page", "unauthorised"]


def test_a_page_of_another_origin_reads_nothing(page: Page, server: Listening, open_to_pages: Listening) -> None:
    """The browser hides all answers from a page of an origin that is not allowed."""
    page.goto(f"http://127.0.0.1:{open_to_pages.port}/health/live")
    assert call(page, server.port) == [0, None, "TypeError"]
