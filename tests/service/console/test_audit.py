"""The audit view and its filter by task."""

import httpx
from playwright.sync_api import expect

from tests.service.console.browser import Console
from tests.service.console.conftest import Shelf
from tests.support.serving import ADMIN, KEY


def test_changes_of_all_tasks(console: Console, shelf: Shelf) -> None:
    """Changes are listed newest first, of all tasks or one; entries about keys name the key."""
    shelf.put("fresh")
    httpx.post(f"{console.url}/admin/v1/keys", json={"name": "robot", "scopes": ["predict"]}, headers=ADMIN)
    console.open("audit")
    expect(console.page.locator(".notice.locked")).to_contain_text("The audit log cannot be shown.")
    console.give_key()
    rows = console.page.locator("table.audit tbody tr")
    expect(rows.first).to_contain_text("created a key (robot; predict)")
    expect(rows.nth(1)).to_contain_text("fresh")
    expect(console.page.locator("table.audit")).to_contain_text("published version 1")
    entry = console.page.get_by_label("Filter by task")
    entry.fill("fresh")
    expect(rows.first).not_to_contain_text("robot")
    assert {row.locator("td").nth(1).inner_text() for row in rows.all()} == {"fresh"}
    entry.fill("no task_name")
    expect(console.page.locator(".complaint").first).to_have_text("This is not a valid task name.")
    entry.fill("nothing-here")
    expect(console.page.locator(".empty")).to_have_text("No change has been recorded.")


def test_older_changes(console: Console, shelf: Shelf) -> None:
    """The view shows a hundred changes at a time and appends older ones below, each once."""
    shelf.record("mood", [f"alias-{number}" for number in range(210)])
    console.open("audit", KEY)
    rows = console.page.locator("table.audit tbody tr")
    expect(rows).to_have_count(100)
    console.page.get_by_role("button", name="Show older changes").click()
    expect(rows).to_have_count(200)
    changes = console.page.locator("table.audit td[data-name=What]").all_inner_texts()
    assert changes == [f"set alias alias-{number} version 1" for number in range(209, 9, -1)]


def test_a_task_leads_to_its_changes(console: Console, shelf: Shelf) -> None:
    """The history of a task links to the audit view, filtered by that task."""
    console.open("tasks/mood", KEY)
    console.page.get_by_text("History", exact=True).click()
    console.page.get_by_role("link", name="Older changes").click()
    expect(console.page.get_by_label("Filter by task")).to_have_value("mood")
    expect(console.page.locator("table.audit tbody tr").first).to_contain_text("mood")
    assert console.page.url.endswith("#audit/mood")
