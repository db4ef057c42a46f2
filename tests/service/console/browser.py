"""A page of the console in headless Chromium, and what it may never do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.support.serving import KEY

ARGUMENTS = [
    "--no-sandbox",  # Chromium has none as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
WAIT_MS = 20_000
TRIES = 5
REFUSAL = "Failed to load resource: the server responded with a status of 4"  # the browser says so of every 4xx
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"  # it gives up whatever it loads when an interface of the machine comes or goes


def chromium() -> str:
    """The browser to test with; skips where there is none."""
    found = os.environ.get("ADAKRON_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium (apt-get install chromium, or ADAKRON_CHROMIUM)")
    return found


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Chromium, which asks nobody but the server for anything."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Console:
    """The console in a tab of its own."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    network_changed: bool = False  # since the page was loaded

    def open(self, view: str = "", key: str | None = None) -> None:
        """Go to a view such as `tasks/sst2`, by a new load of the page; with `key`, as if it had been kept."""
        if key is not None:
            self.page.add_init_script(
                f"if (location.protocol === 'http:') sessionStorage.setItem('adakron.key', '{key}')"
            )
        for _ in range(TRIES):
            self.page.goto("about:blank")
            self.page.goto(f"{self.url}/console{view and '#' + view}")
            if not self.network_changed:
                break
            self.network_changed = False
        self.page.wait_for_selector("#server .state")

    def go(self, view: str) -> None:
        """Go to a view of the page that is open."""
        self.page.evaluate("view => { location.hash = view; }", view)

    def give_key(self, key: str = KEY) -> None:
        """Type a key in, and wait until it is in use."""
        self.page.locator("#key-button").click()
        self.key_field.fill(key)
        self.confirm("Use this key")

    @property
    def key_field(self) -> Locator:
        """Where a key is typed in."""
        return self.page.locator("dialog").get_by_role("textbox", name="Key")

    def confirm(self, name: str) -> None:
        """Press a button of the dialog, which then closes."""
        self.page.locator("dialog").get_by_role("button", name=name).click()
        self.page.wait_for_selector("dialog", state="detached")

    def text(self, selector: str) -> str:
        """What is shown there."""
        return self.page.locator(selector).inner_text()

    def check(self) -> None:
        """Nothing was refused by the policy, no script failed, nobody else was asked for anything."""
        assert self.problems == [], "; ".join(self.problems)


@contextmanager
def open_console(browser: Browser, url: str, **options: Any) -> Iterator[Console]:
    """A tab with nothing open yet; what it may never do fails the test that did it."""
    context = browser.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    console = Console(context.new_page(), url)

    def heard(message: ConsoleMessage) -> None:
        if NETWORK_CHANGED in message.text:
            console.network_changed = True
        elif message.type in ("error", "warning") and not message.text.startswith(REFUSAL):
            console.problems.append(message.text)

    console.page.on("console", heard)
    console.page.on("pageerror", lambda error: console.problems.append(str(error)))
    console.page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((f"{url}/", "blob:", "about:"))
            else console.problems.append(f"asked for {request.url}")
        ),
    )
    yield console
    console.check()
    context.close()
