"""Keys: locked actions name the missing scope, and keys are stored only as the user chooses."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from adapters.backbone.source import LoadedBackbone
from tests.service.console.browser import Console, open_console
from tests.service.console.conftest import Shelf
from tests.support.serving import KEY, listening


@pytest.fixture(scope="module")
def closed(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Shelf]]:
    """A server that requires a key for every request."""
    folder = tmp_path_factory.mktemp("console-keys")
    with (
        listening(tiny, folder, require_key=True, max_upload_bytes=2000) as server,
        closing(Shelf(tiny, folder)) as shelf,
    ):
        for seed in range(2):
            shelf.put("mood", seed)
        shelf.put("other")
        yield f"http://127.0.0.1:{server.port}", shelf


@pytest.fixture
def console(browser: Browser, closed: tuple[str, Shelf]) -> Iterator[Console]:
    with open_console(browser, closed[0]) as console:
        yield console


def scopes(console: Console) -> list[str]:
    """The scopes that the dialog marks as allowed."""
    console.page.locator("#key-button").click()
    found = console.page.locator(".scopes .yes b").all_inner_texts()
    console.page.get_by_role("button", name="Cancel").click()
    return found


def test_no_key(console: Console) -> None:
    """Without a key the page names the locked actions and the missing scopes, and links to the key dialog."""
    console.open("tasks")
    expect(console.page.locator(".notice.locked").first).to_contain_text("needs a key with the scope predict")
    expect(console.page.locator(".publish")).to_contain_text("needs a key with the scope upload")
    expect(console.page.get_by_role("button", name="Publish")).to_be_disabled()
    console.go("try")
    expect(console.page.locator(".picker")).to_contain_text("Enter a key to list the tasks.")
    console.go("tasks/mood")
    console.page.wait_for_selector("h1")
    console.page.get_by_role("button", name="Enter a key").first.click()
    expect(console.key_field).to_be_focused()
    console.page.keyboard.press("Escape")
    assert scopes(console) == []


def test_a_wrong_key(console: Console) -> None:
    """An unknown or malformed key is refused in the dialog, which stays open."""
    console.open("tasks")
    console.page.locator("#key-button").click()
    dialog = console.page.locator("dialog")
    for text, words in [("", "Enter a key."), ("schlüssel", "consists of ASCII"), (KEY[:-1], "401 key_unknown")]:
        console.key_field.fill(text)
        dialog.get_by_role("button", name="Use this key").click()
        expect(dialog).to_contain_text(words)
    expect(dialog).to_contain_text("Check that the key is complete")
    console.page.keyboard.press("Escape")
    expect(console.page.locator("#key-button")).to_have_text("Key refused")
    assert console.page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize(
    ("given", "listed"),
    [(("predict",), ["predict"]), (("predict", "upload"), ["predict", "upload"]), (("upload",), ["upload"])],
)
def test_a_key_that_may_less(
    console: Console, closed: tuple[str, Shelf], given: tuple[str, ...], listed: list[str]
) -> None:
    """Actions that the key allows are enabled; the others name the missing scope."""
    console.open("tasks/mood")
    console.give_key(closed[1].key(*given))
    assert scopes(console) == listed
    if "upload" in given:
        expect(console.page.get_by_role("button", name="Activate version 1")).to_be_enabled()
        delete = console.page.get_by_role("button", name="Delete version 1")
        expect(delete).to_be_disabled()
        expect(delete).to_have_accessible_description("This key lacks the scope admin.")
    else:
        expect(console.page.locator(".notice.locked").first).to_contain_text("This key lacks the scope upload.")


def test_a_key_for_one_task(console: Console, closed: tuple[str, Shelf]) -> None:
    """A key for one task lists only that task; with the scope admin it may delete but not read the history."""
    console.open("tasks")
    console.give_key(closed[1].key("admin", tasks=("mood",)))
    rows = console.page.locator("table.tasks tbody tr")
    expect(rows).to_have_count(1)
    assert "mood" in rows.inner_text()
    console.go("tasks/mood")
    expect(console.page.get_by_role("button", name="Delete version 1")).to_be_enabled()
    expect(console.page.locator("details").filter(has_text="History")).to_be_hidden()
    console.go("tasks/other")
    expect(console.page.locator("p.notice")).to_contain_text("There is no task other, or this key may not see it.")


def test_a_key_is_forgotten_on_a_task_s_page(console: Console) -> None:
    """Removing the key hides the data that needed it, and the page does not claim that the task does not exist."""
    console.open("tasks/mood", KEY)
    history = console.page.locator("details").filter(has_text="History")
    history.locator("summary").click()
    expect(history).to_contain_text("published")
    console.page.locator("#key-button").click()
    console.page.get_by_role("button", name="Forget the key").click()
    console.page.keyboard.press("Escape")
    expect(console.page.locator(".split .notice.locked").first).to_contain_text("needs a key with the scope predict")
    expect(history).to_be_hidden()
    assert history.locator("td").count() == 0
    assert console.page.get_by_text("There is no task").count() == 0
    assert console.page.locator("table.versions").count() == 0


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (
            "upload",
            "There is no task nothing, or this key may not see it. Publishing the first adapter creates the task.",
        ),
        ("predict", "There is no task nothing with a live version."),
    ],
)
def test_a_task_that_is_not_there(console: Console, closed: tuple[str, Shelf], scope: str, words: str) -> None:
    """The page of an unlisted task claims only what the key can know."""
    console.open("tasks/nothing", closed[1].key(scope))
    notice = console.page.locator(".split .notice").first
    expect(notice).to_have_text(words)
    assert notice.inner_text().startswith("There is no task nothing")
    assert console.page.get_by_role("button", name="Activate").count() == 0


@pytest.mark.parametrize("keep", [False, True])
def test_how_long_a_key_is_kept(console: Console, keep: bool) -> None:
    """A key is kept in memory or, if chosen, until the tab is closed; Forget removes it."""
    console.open("tasks")
    console.page.locator("#key-button").click()
    console.key_field.fill(KEY)
    console.page.get_by_label("Keep the key until this tab is closed").set_checked(keep)
    console.confirm("Use this key")
    assert console.page.evaluate("Object.values(sessionStorage)") == ([KEY] if keep else [])
    assert console.page.evaluate("localStorage.length") == 0
    expect(console.page.locator("#said")).to_have_text("The key is in use")
    assert KEY not in console.page.content()
    assert KEY not in console.page.url
    console.page.reload()
    expect(console.page.locator("#key-button")).to_have_text("Key: admin" if keep else "No key")
    if keep:
        console.page.locator("#key-button").click()
        console.page.get_by_role("button", name="Forget the key").click()
        assert console.page.evaluate("sessionStorage.length") == 0
        expect(console.page.locator("#key-button")).to_have_text("No key")


def test_a_file_that_is_too_large(console: Console, closed: tuple[str, Shelf], tmp_path: Path) -> None:
    """The console shows the error when the server refuses a file by its size."""
    file = tmp_path / "large.safetensors"
    file.write_bytes(closed[1].file())
    console.open("tasks", KEY)
    console.page.locator("input[type=file]").set_input_files(file)
    console.page.get_by_role("button", name="Publish").click()
    expect(console.page.locator(".publish").get_by_role("alert")).to_contain_text("413 body_too_large")
    listed = httpx.get(f"{console.url}/v1/tasks", headers={"Authorization": f"Bearer {KEY}"}).json()["tasks"]
    assert "large" not in {task["task"] for task in listed}
