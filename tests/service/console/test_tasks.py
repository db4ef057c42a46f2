"""Tasks and their versions: lists, activation, rollback, aliases, deletion and download."""

import json

import pytest
from playwright.sync_api import Route, expect

from adapters.backbone.source import LoadedBackbone
from tests.service.console.browser import Console
from tests.service.console.conftest import TWO, Shelf
from tests.service.console.pages import aliases, opened


def test_the_list(console: Console, shelf: Shelf) -> None:
    """The list shows live version, kind and labels of each task; the filter searches names and labels."""
    console.open("tasks")
    rows = console.page.locator("table.tasks tbody tr")
    expect(rows.filter(has_text="topics")).to_contain_text("multi-label")
    expect(rows.filter(has_text="alike")).to_contain_text("pair")
    console.page.get_by_label("Filter tasks").fill("positive mood")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("negative, positive")
    console.page.get_by_label("Filter tasks").fill("no such thing")
    expect(console.page.locator(".list")).to_contain_text("No task matches the filter.")
    assert rows.count() == 0


def test_a_change_under_way(console: Console, task: str) -> None:
    """While a request runs, neither Cancel nor Escape closes the dialog, and the focus stays."""
    opened(console, task)
    held: list[Route] = []
    console.page.route("**/aliases/live", lambda route: held.append(route))
    console.page.get_by_role("button", name="Activate version 1").click()
    dialog = console.page.locator("dialog")
    acting = dialog.get_by_role("button", name="Activate version 1")
    with console.page.expect_request("**/aliases/live"):
        acting.click()
    expect(acting).to_be_focused()
    expect(acting).to_be_disabled()
    expect(dialog.get_by_role("button", name="Cancel")).to_be_disabled()
    dialog.get_by_role("button", name="Cancel").dispatch_event("click")
    for _ in range(3):
        console.page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    held[0].continue_()
    expect(dialog).to_have_count(0)
    expect(console.page.locator("tr.current")).to_contain_text("1 live")
    assert len(held) == 1


def test_activate_and_roll_back(console: Console, task: str) -> None:
    """Activate and Roll back move `live` on the page and on the server."""
    opened(console, task)
    console.page.get_by_role("button", name="Activate version 1").click()
    console.confirm("Activate version 1")
    expect(console.page.locator("tr.current")).to_contain_text("1 live")
    expect(console.page.locator("#said")).to_have_text(f"live of {task} now points to version 1")
    assert aliases(console, task) == {"live": 1}
    console.page.get_by_role("button", name="Roll back").click()
    console.confirm("Roll back")
    expect(console.page.locator("tr.current")).to_contain_text("2 live")
    expect(console.page.locator("#said")).to_have_text(f"{task} is rolled back")
    assert aliases(console, task) == {"live": 2}
    console.page.get_by_text("History", exact=True).click()
    expect(console.page.locator("table.audit")).to_contain_text("rolled back live version 2 (was 1)")


@pytest.mark.parametrize("act", ["Activate version 1", "Roll back"])
def test_another_user_was_faster(console: Console, shelf: Shelf, task: str, act: str) -> None:
    """A change based on an outdated state is refused; the page shows the conflict and then the current state."""
    shelf.put(task, seed=2)
    opened(console, task)
    console.page.get_by_role("button", name=act).click()
    shelf.activate(task, 2)
    dialog = console.page.locator("dialog")
    dialog.get_by_role("button", name=act).click()
    expect(dialog.get_by_role("alert")).to_contain_text("points to version 2")
    expect(dialog.get_by_role("alert")).to_contain_text("412 precondition_failed")
    expect(dialog.get_by_role("alert")).to_contain_text("Another user has moved the alias")
    dialog.get_by_role("button", name="Cancel").click()
    expect(console.page.locator("tr.current")).to_contain_text("2 live")
    assert aliases(console, task) == {"live": 2}


def test_aliases_and_deletion(console: Console, task: str) -> None:
    """An alias is set and removed; a version with an alias cannot be deleted, another one can after a confirmation."""
    opened(console, task)
    row = console.page.locator("table.versions tbody tr").filter(has=console.page.get_by_text("1", exact=True))
    for name in ("7", "canary"):
        console.page.get_by_role("button", name="Alias version 1").click()
        console.page.get_by_label("Name").fill(name)
        console.page.locator("dialog").get_by_role("button", name="Set the alias").click()
        if name == "7":
            expect(console.page.locator("dialog")).to_contain_text("This is not a valid alias name.")
            console.page.keyboard.press("Escape")
    expect(row).to_contain_text("canary")
    assert aliases(console, task) == {"live": 2, "canary": 1}
    delete = console.page.get_by_role("button", name="Delete version 1")
    expect(delete).to_be_disabled()
    expect(delete).to_have_accessible_description("An alias points to this version: canary.")
    delete.focus()
    expect(delete).to_be_focused()
    console.page.keyboard.press("Enter")
    assert console.page.locator("dialog").count() == 0
    console.page.get_by_role("button", name="Remove the alias canary").click()
    console.confirm("Remove canary")
    delete.click()
    assert console.page.evaluate("document.activeElement.textContent") == "Cancel"
    console.confirm("Delete version 1")
    expect(console.page.locator("table.versions tbody tr")).to_have_count(1)
    expect(console.page.locator("#said")).to_have_text("Version 1 is deleted")
    assert aliases(console, task) == {"live": 2}


def test_more_rows(console: Console, shelf: Shelf) -> None:
    """Showing more versions or compared lines moves the focus to the first new row."""
    for seed in range(21):
        shelf.put("long", seed)
    opened(console, "long")
    console.page.get_by_role("button", name="Show 1 older").click()
    expect(console.page.get_by_role("button", name="Activate version 1", exact=True)).to_be_focused()
    console.page.get_by_label("Lines").fill("\n".join(f"line {number}" for number in range(120)))
    console.page.get_by_role("button", name="Compare").click()
    console.page.get_by_role("button", name="Show 20 more").click()
    expect(console.page.locator(".compared tbody tr")).to_have_count(120)
    expect(console.page.locator(".compared tbody tr").nth(100)).to_be_focused()
    assert console.page.evaluate("document.activeElement.matches('.compared tbody tr:nth-child(101)')")


def test_download(console: Console, shelf: Shelf, task: str) -> None:
    """A downloaded file equals the uploaded file."""
    opened(console, task)
    with console.page.expect_download() as download:
        console.page.get_by_role("button", name="Download version 1").click()
    assert download.value.suggested_filename == f"{task}-1.safetensors"
    assert download.value.path().read_bytes() == shelf.file(seed=TWO[0])


def test_download_refused(console: Console, task: str) -> None:
    """A refused download shows the error once and can be retried."""
    opened(console, task)
    refusal = {"error": "no key was sent", "error_type": "unauthorised", "reason": "key_missing"}
    console.page.route("**/versions/1/adapter", lambda route: route.fulfill(status=401, json=refusal))
    console.page.get_by_role("button", name="Download version 1").click()
    alert = console.page.locator("dialog").get_by_role("alert")
    expect(alert).to_contain_text("401 key_missing")
    console.page.get_by_role("button", name="Try again").click()
    expect(alert).to_have_count(1)
    console.page.unroute("**/versions/1/adapter")
    with console.page.expect_download() as download:
        console.confirm("Try again")
    assert download.value.suggested_filename == f"{task}-1.safetensors"
    expect(console.page.locator("#said")).to_have_text("The download has started")


def test_thousands_of_tasks(console: Console, shelf: Shelf, tiny: LoadedBackbone) -> None:
    """With 2,000 tasks, a hundred rows are shown at a time, and the filter searches all tasks."""
    entries = [
        {
            "task": f"task-{number:04}",
            "version": 1,
            "digest": "0" * 64,
            "type": "single_label",
            "labels": ["no", "yes"],
            "pair": False,
            "max_length": 128,
            "temperature": 1.0,
            "metrics": {"accuracy": 0.9},
        }
        for number in range(2000)
    ]
    console.page.route("**/v1/tasks", lambda route: route.fulfill(body=json.dumps({"tasks": entries})))
    console.open("tasks")
    rows = console.page.locator("table.tasks tbody tr")
    expect(rows).to_have_count(100)
    console.page.get_by_role("button", name="Show 100 more of 1,900").click()
    expect(rows).to_have_count(200)
    expect(rows.nth(100).get_by_role("link")).to_be_focused()
    console.page.get_by_label("Filter tasks").fill("task-19")
    expect(rows).to_have_count(100)
    expect(rows.first).to_contain_text("task-1900")
    console.go("try")
    expect(console.page.locator(".option")).to_have_count(40)
    expect(console.page.locator(".picker")).to_contain_text("1,960 more: narrow the filter.")
    assert console.page.locator(".option").count() == 40
