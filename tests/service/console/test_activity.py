"""The activity of one task: rate, latency, failures and label shares."""

import time

import httpx
from playwright.sync_api import expect

from tests.service.console.browser import Console
from tests.service.console.conftest import Shelf
from tests.support.serving import KEY

POLL_MS = 2000
TEXTS = ["a good film", "the sea", "no", "one two three"]


def predict(console: Console, task: str) -> list[dict[str, object]]:
    """Predict TEXTS as soon as the server knows the task."""
    for _ in range(200):
        answer = httpx.post(f"{console.url}/v1/{task}/predict", json={"inputs": TEXTS})
        if answer.status_code != 404:
            break
        time.sleep(0.05)
    predictions: list[dict[str, object]] = answer.json()["predictions"]
    return predictions


def test_the_activity_of_a_task(console: Console, shelf: Shelf) -> None:
    """The charts show the task's requests, and the bars show the share of inputs by label as the API counts them."""
    shelf.put("busy", labels=("sad", "happy"))
    labels = [one["label"] for one in predict(console, "busy")]
    console.page.clock.install()
    console.open("tasks/busy", KEY)
    console.page.get_by_text("Activity", exact=True).click()
    panel = console.page.locator("details").filter(has_text="Activity")
    section = panel.get_by_role("region", name="Answers of version 1")
    expect(section).to_contain_text("4 inputs since the server started")
    best = max(set(labels), key=labels.count)
    first = section.locator(".bars li").first
    expect(first).to_contain_text(str(best))
    expect(first).to_contain_text(f"{100 * labels.count(best) / 4:.1f}\u00a0%")
    predict(console, "busy")
    console.page.clock.fast_forward(POLL_MS)
    expect(section).to_contain_text("4 inputs since this panel was opened")
    rate = panel.get_by_role("region", name="Requests").locator(".big")
    expect(rate).not_to_have_text("0.00")
    panel.locator("summary").click()
    console.page.wait_for_timeout(200)  # the browser reports asynchronously that the panel is closed
    asked: list[str] = []
    console.page.on("request", lambda request: asked.append(request.url))
    console.page.clock.fast_forward(POLL_MS)
    console.page.wait_for_timeout(100)
    assert not [url for url in asked if "activity" in url or "metrics" in url]


def test_activity_goes_with_the_key(console: Console, shelf: Shelf) -> None:
    """Label shares disappear when the user removes the key; the charts stay."""
    shelf.put("grades", type="regression", labels=())
    predict(console, "grades")
    console.open("tasks/grades", KEY)
    console.page.get_by_text("Activity", exact=True).click()
    section = console.page.get_by_role("region", name="Answers of version 1")
    expect(section).to_contain_text("mean value")
    console.page.locator("#key-button").click()
    console.page.get_by_role("button", name="Forget the key").click()
    console.page.keyboard.press("Escape")
    expect(section).to_have_count(0)
    assert console.page.get_by_role("region", name="Latency").is_visible()
