"""The keys view: list, create and revoke keys."""

import httpx
from playwright.sync_api import expect

from tests.service.console.browser import Console
from tests.service.console.conftest import Shelf
from tests.support.serving import KEY


def test_create_and_revoke(console: Console) -> None:
    """A new key is shown once and works; after a confirmed revocation it is refused and stays in the list."""
    console.open("keys")
    expect(console.page.locator(".notice.locked")).to_contain_text("Keys cannot be shown.")
    console.give_key()
    create = console.page.get_by_role("button", name="Create a key…")
    create.click()
    dialog = console.page.locator("dialog")
    press = dialog.get_by_role("button", name="Create")
    press.click()
    expect(dialog.locator(".complaint")).to_contain_text("A name has 1 to 63")
    dialog.get_by_label("Name").fill("nightly training")
    press.click()
    expect(dialog.locator(".complaint")).to_have_text("Choose at least one scope.")
    dialog.get_by_role("checkbox", name="upload").check()
    dialog.get_by_label("Only for these tasks").fill("mood, Bad_name")
    press.click()
    expect(dialog.locator(".complaint")).to_contain_text("Bad_name is not a valid task name.")
    dialog.get_by_label("Only for these tasks").fill("mood, topics")
    press.click()
    shown = dialog.get_by_role("textbox", name="Key")
    expect(dialog).to_contain_text("it is never shown again")
    text = shown.inner_text()
    console.confirm("Close")
    row = console.page.get_by_role("row").filter(has_text="nightly training")
    expect(row).to_contain_text("mood, topics")
    expect(row).to_contain_text("in use")
    assert text not in console.page.content()
    versions = f"{console.url}/admin/v1/tasks/mood"
    assert httpx.get(versions, headers={"Authorization": f"Bearer {text}"}).status_code == 200
    row.get_by_role("button", name="Revoke the key nightly training").click()
    console.confirm("Revoke nightly training")
    expect(row).to_contain_text("revoked")
    expect(row.get_by_role("button")).to_have_count(0)
    assert httpx.get(versions, headers={"Authorization": f"Bearer {text}"}).status_code == 401


def test_a_phone_shows_every_scope_beside_its_name(console: Console, shelf: Shelf) -> None:
    """On a narrow screen the scopes of a key are on one line beside the column's name."""
    console.page.set_viewport_size({"width": 360, "height": 740})
    shelf.key("predict", "upload")
    console.open("keys", KEY)
    cell = console.page.locator("td[data-name=Scopes]", has_text="upload").first
    boxes = [tag.bounding_box() for tag in cell.locator(".tag").all()]
    outer = cell.bounding_box()
    assert outer is not None
    lefts = [box["x"] - outer["x"] for box in boxes if box is not None]
    assert len(lefts) == 2
    assert 90 <= lefts[0] < lefts[1]
    assert len({box["y"] for box in boxes if box is not None}) == 1


def test_keys_are_for_administrators(console: Console, shelf: Shelf) -> None:
    """A key that may not list keys sees the missing permission, and no request is sent."""
    console.open("keys", shelf.key("upload"))
    expect(console.page.locator(".notice.locked")).to_contain_text("admin")
    console.go("try")
    console.open("keys", shelf.key("admin", tasks=("mood",)))
    expect(console.page.locator(".notice.locked")).to_contain_text("This needs a key for every task.")
    assert console.page.get_by_role("button", name="Create a key…").get_attribute("aria-disabled") == "true"
    assert console.page.locator("table.keys").count() == 0


def test_the_key_can_be_copied(console: Console) -> None:
    """Copy puts the new key on the clipboard; without a clipboard it selects the text."""
    console.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    console.open("keys", KEY)
    for name, broken in (("one", False), ("two", True)):
        if broken:
            console.page.evaluate(
                "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no clipboard')); }"
            )
        console.page.get_by_role("button", name="Create a key…").click()
        dialog = console.page.locator("dialog")
        dialog.get_by_label("Name").fill(name)
        dialog.get_by_role("checkbox", name="predict").check()
        dialog.get_by_role("button", name="Create").click()
        text = dialog.get_by_role("textbox", name="Key").inner_text()
        dialog.get_by_role("button", name="Copy").click()
        if broken:
            expect(dialog).to_contain_text("Selected: press Ctrl + C to copy")
            assert console.page.evaluate("getSelection().toString()") == text
        else:
            expect(dialog.locator("[role=status]").first).to_have_text("Copied")
            assert console.page.evaluate("navigator.clipboard.readText()") == text
        console.confirm("Close")
