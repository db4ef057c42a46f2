"""The console in headless Chromium; scripts that fail and requests to other hosts fail the test."""

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
    "--no-sandbox",  # Chromium has no sandbox as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
WAIT_MS = 20_000
TRIES = 5
REFUSAL = "Failed to load resource: the server responded with a status of 4"  # Chromium logs this for every 4xx
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"  # Chromium aborts loads when a network interface appears or disappears


def chromium() -> str:
    """Find the browser; skip the test if there is none."""
    found = os.environ.get("ADAKRON_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium (apt-get install chromium, or ADAKRON_CHROMIUM)")
    return found


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium without its own network traffic."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Console:
    """The console in a new tab."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    network_changed: bool = False  # since the page was loaded

    def open(self, view: str = "", key: str | None = None) -> None:
        """Load the page at a view such as `tasks/sst2`; `key` is stored in the tab before."""
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
        """Switch the open page to another view."""
        self.page.evaluate("view => { location.hash = view; }", view)

    def give_key(self, key: str = KEY) -> None:
        """Enter a key and wait until it is in use."""
        self.page.locator("#key-button").click()
        self.key_field.fill(key)
        self.confirm("Use this key")

    @property
    def key_field(self) -> Locator:
        """The text field for a key."""
        return self.page.locator("dialog").get_by_role("textbox", name="Key")

    def confirm(self, name: str) -> None:
        """Press a button of the dialog and wait until the dialog closes."""
        self.page.locator("dialog").get_by_role("button", name=name).click()
        self.page.wait_for_selector("dialog", state="detached")

    def text(self, selector: str) -> str:
        """The visible text of an element."""
        return self.page.locator(selector).inner_text()

    def check(self) -> None:
        """Fail if a script failed, the policy blocked something, or another host was requested."""
        assert self.problems == [], "; ".join(self.problems)


@contextmanager
def open_console(browser: Browser, url: str, **options: Any) -> Iterator[Console]:
    """Open an empty tab; `Console.check` runs at the end."""
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
            else console.problems.append(f"requested {request.url}")
        ),
    )
    yield console
    console.check()
    context.close()
