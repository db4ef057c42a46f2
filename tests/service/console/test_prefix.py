"""The console and /docs behind a proxy with a path prefix: all their requests stay below the prefix."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from adapters.backbone.source import LoadedBackbone
from tests.service.console.browser import open_console
from tests.service.console.conftest import Shelf
from tests.support.nginx import nginx
from tests.support.serving import listening

PREFIX = "/teams/nlp"
WAYS = ("keeps, HTTP/1.1", "strips, HTTP/1.0")


@pytest.fixture(scope="module")
def urls(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("prefix")
    with (
        listening(tiny, folder, root_path=PREFIX) as server,
        nginx(folder, server.port, PREFIX) as urls,
        closing(Shelf(tiny, folder)) as shelf,
    ):
        shelf.put("mood")
        yield urls


@pytest.mark.parametrize("way", WAYS)
def test_the_console_works(browser: Browser, urls: dict[str, str], way: str, tmp_path: Path) -> None:
    """The root redirects to the console, whose views work; no request fails or leaves the prefix."""
    with open_console(browser, urls[way]) as console:
        failed: list[str] = []
        console.page.on("response", lambda response: response.status < 400 or failed.append(response.url))
        console.page.goto(f"{urls[way]}/")
        assert console.page.url == f"{urls[way]}/console"
        console.page.wait_for_selector("#server .state")
        console.page.get_by_label("Text", exact=True).last.fill("a good film")
        console.page.get_by_role("button", name="Run").click()
        expect(console.page.get_by_role("article", name="mood").locator(".answer")).to_be_visible()
        console.go("live")
        expect(console.page.get_by_text("adapters in memory")).to_be_visible()
        assert failed == []


@pytest.mark.parametrize("way", WAYS)
def test_the_documentation_works(browser: Browser, urls: dict[str, str], way: str) -> None:
    """/docs shows the routes, and its requests go to the server below the prefix."""
    with open_console(browser, urls[way]) as console:
        failed: list[str] = []
        console.page.on("response", lambda response: response.status < 400 or failed.append(response.url))
        console.page.goto(f"{urls[way]}/docs")
        route = console.page.locator("#operations-tasks-list_tasks_v1_tasks_get")
        route.locator(".opblock-summary-control").click()
        route.get_by_role("button", name="Try it out").click()
        with console.page.expect_response(f"{urls[way]}/v1/tasks") as found:
            route.get_by_role("button", name="Execute").click()
        assert found.value.json()["tasks"][0]["task"] == "mood"
        assert failed == []
