"""Accessibility of the console: keyboard, screen reader, phone, dark mode and reduced motion."""

from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.service.console.browser import Console, open_console
from tests.service.console.conftest import Shelf
from tests.service.console.test_try import choose, run
from tests.support.serving import KEY, Listening

VIEWS = ["try", "tasks", "tasks/mood", "live"]
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
RULES = {  # only the rules about colours depend on the colour scheme
    "light": {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}},
}
MOST_TABS = 80


def url_of(server: Listening) -> str:
    return f"http://127.0.0.1:{server.port}"


def settled(console: Console) -> None:
    """Wait until the view has loaded its data."""
    console.page.wait_for_function(
        "document.querySelectorAll('.option, table.tasks tr, table.versions tr, .chart').length > 1"
    )


def violations(page: Page, scheme: str) -> list[str]:
    """List the rule violations that axe finds."""
    page.evaluate(AXE)
    found = page.evaluate("rules => axe.run(document, rules)", RULES[scheme])["violations"]
    return [f"{item['id']}: {item['help']}: {[node['html'] for node in item['nodes']]}" for item in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, server: Listening, shelf: Shelf, scheme: str) -> None:
    """Axe finds no violation of WCAG 2.2 AA in any view, with answers, dialogs and errors open."""
    with open_console(browser, url_of(server), color_scheme=scheme, reduced_motion="reduce") as console:
        console.open("", KEY)
        for view in VIEWS:
            console.go(view)
            settled(console)
            assert violations(console.page, scheme) == [], view
        console.go("try")
        console.page.get_by_label("Text", exact=True).last.fill("a good film")
        console.page.get_by_role("button", name="Run").click()
        console.page.wait_for_selector(".result")
        assert violations(console.page, scheme) == []
        choose(console, "same")
        run(console)
        console.page.wait_for_selector(".result .notice.bad")
        assert violations(console.page, scheme) == []
        console.page.locator("#key-button").click()
        console.key_field.fill("wrong")
        console.page.get_by_role("button", name="Use this key").click()
        expect(console.page.locator("dialog").get_by_role("alert").last).to_contain_text("key_unknown")
        assert violations(console.page, scheme) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_fits_the_screen(browser: Browser, server: Listening, shelf: Shelf, width: int) -> None:
    """No view is wider than the screen, and buttons are at least 20 pixels wide and high."""
    with open_console(browser, url_of(server), viewport={"width": width, "height": 740}) as console:
        console.open("", KEY)
        for view in [*VIEWS, "tasks/hostile"]:
            console.go(view)
            settled(console)
            assert console.page.evaluate("document.documentElement.scrollWidth") <= width, view
            sizes = "elements => elements.map((e) => e.getBoundingClientRect()).map((r) => Math.min(r.width, r.height))"
            assert min(console.page.locator("button:visible").evaluate_all(sizes)) >= 20
        console.go("try")
        console.page.get_by_label("Text", exact=True).last.fill("film" * 100)
        console.page.get_by_role("button", name="Run").click()
        console.page.wait_for_selector(".result")
        assert console.page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_and_light(browser: Browser, server: Listening, shelf: Shelf) -> None:
    """The background follows the colour scheme of the system."""
    brightness = {}
    for scheme in ("light", "dark"):
        with open_console(browser, url_of(server), color_scheme=scheme) as console:
            console.open()
            rgb = console.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
            brightness[scheme] = sum(rgb)
    assert brightness["light"] > 600 > 200 > brightness["dark"]


class Keyboard:
    """A user without a mouse."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def to(self, name: str) -> None:
        """Press Tab until the element of that name has a visible focus."""
        look = """() => {
            const e = document.activeElement;
            const named = e.labels?.[0]?.textContent ?? "";
            const boxes = [e, e.nextElementSibling, e.closest("label")].filter(Boolean);
            const seen = boxes.some((box) => getComputedStyle(box).outlineStyle !== "none" || e.closest(".option"));
            return [e.getAttribute("aria-label") || named || e.textContent.trim(), seen];
        }"""
        names = []
        for _ in range(MOST_TABS):
            self._page.keyboard.press("Tab")
            found, seen = self._page.evaluate(look)
            names.append(found)
            if found.startswith(name):
                assert seen, f"the focus on {name} is not visible"
                return
        pytest.fail(f"{name} cannot be reached: {names}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self._page.keyboard.press(key)

    def type(self, text: str) -> None:
        self._page.keyboard.type(text)


def test_by_keyboard_alone(console: Console, shelf: Shelf) -> None:
    """The keyboard alone enters a key, activates, rolls back and predicts; after each dialog the focus returns."""
    for seed in (0, 5):
        shelf.put("typed", seed)
    console.open()
    console.page.wait_for_selector(".option")
    keyboard = Keyboard(console.page)
    keyboard.to("Skip to content")
    keyboard.press("Enter")
    assert console.page.evaluate("document.activeElement.textContent") == "Try"
    console.page.evaluate("document.activeElement.blur()")
    keyboard.to("No key")
    keyboard.press("Enter")
    keyboard.type(KEY)
    keyboard.press("Enter")
    expect(console.page.locator("#key-button")).to_have_text("Key: admin")
    expect(console.page.locator("#key-button")).to_be_focused()
    console.page.reload()
    console.page.wait_for_selector(".option")
    keyboard.to("No key")
    keyboard.press("Enter")
    keyboard.type(KEY)
    keyboard.press("Enter")
    expect(console.page.locator("#key-button")).to_be_focused()
    console.go("tasks")
    keyboard.to("typed")
    keyboard.press("Enter")
    expect(console.page.locator("h1")).to_be_focused()
    keyboard.to("Activate version 1")
    keyboard.press("Enter")
    expect(console.page.locator("dialog")).to_be_visible()
    keyboard.to("Activate version 1")
    keyboard.press("Enter")
    expect(console.page.locator("tr.current")).to_contain_text("1 live")
    expect(console.page.locator("h1")).to_be_focused()
    keyboard.to("Roll back")
    keyboard.press("Enter", "Escape")
    expect(console.page.get_by_role("button", name="Roll back")).to_be_focused()
    keyboard.press("Shift+Tab")
    keyboard.press("Enter")
    expect(console.page.locator("h1")).to_have_text("Try")
    expect(console.page.get_by_role("list", name="Chosen tasks")).to_contain_text("typed")
    keyboard.to("Text")
    keyboard.to("Text")
    keyboard.type("a good film")
    keyboard.press("Control+Enter")
    expect(console.page.get_by_role("article", name="typed")).to_contain_text("version 1")
    keyboard.to("Filter tasks, or name a version")
    keyboard.type("typed@2")
    expect(console.page.get_by_role("checkbox", name="typed@2")).to_be_visible()
    keyboard.press("Enter")
    expect(console.page.get_by_role("list", name="Chosen tasks")).to_contain_text("typed@2")


def test_less_motion(browser: Browser, server: Listening, shelf: Shelf) -> None:
    """With reduced motion, nothing is animated."""
    with open_console(browser, url_of(server), reduced_motion="reduce") as console:
        console.open()
        console.page.wait_for_selector(".option")
        console.page.get_by_label("Text", exact=True).last.fill("a good film")
        console.page.get_by_role("button", name="Run").click()
        console.page.wait_for_selector(".result .fill")
        duration = "fill => getComputedStyle(fill).transitionDuration"
        assert console.page.locator(".fill").first.evaluate(duration) == "0s"
