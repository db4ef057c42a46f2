"""The task views: publish, activate, roll back, compare, download and delete."""

import base64
import itertools
import json
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Route, expect

from adapters.backbone.source import LoadedBackbone
from tests.service.console.browser import Console
from tests.service.console.conftest import Shelf
from tests.support.factories import make_adapter_bytes, tiny_identity
from tests.support.serving import ADMIN, KEY

LINES = ["a good film", "a bad film", "the cat sleeps", "a sad song about the sea", "money for the house"]
TWO = [0, 5]  # seeds of two versions, which agree on four of the lines
numbers = itertools.count(1)


@pytest.fixture
def task(shelf: Shelf) -> str:
    """A new task with two versions, the second live."""
    name = f"own-{next(numbers)}"
    for seed in TWO:
        shelf.put(name, seed)
    return name


def opened(console: Console, task: str) -> None:
    """Open the page of a task with the admin key."""
    console.open(f"tasks/{task}", KEY)
    console.page.wait_for_selector("table.versions")


def aliases(console: Console, task: str) -> dict[str, int]:
    """Read the aliases from the server."""
    found: dict[str, int] = httpx.get(f"{console.url}/admin/v1/tasks/{task}", headers=ADMIN).json()["aliases"]
    return found


def publish(console: Console) -> None:
    """Press Publish and wait for the result."""
    console.page.get_by_role("button", name="Publish").click()
    console.page.wait_for_selector(".publish .notice.good, .publish .notice.bad")


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


def test_upload_by_file_chooser(console: Console, shelf: Shelf, tmp_path: Path) -> None:
    """A chosen file is previewed, its name suggests the task's name, and after the upload it is live."""
    file = tmp_path / "Chosen.safetensors"
    file.write_bytes(shelf.file(labels=("spam", "ham")))
    console.open("tasks", KEY)
    with console.page.expect_file_chooser() as chooser:
        console.page.locator(".drop").click()
    chooser.value.set_files(file)
    expect(console.page.locator(".publish")).to_contain_text("2: spam, ham")
    expect(console.page.get_by_label("Task", exact=True)).to_have_value("chosen")
    publish(console)
    expect(console.page.locator(".publish .notice")).to_contain_text("Published as chosen@1")
    expect(console.page.locator("table.tasks")).to_contain_text("spam, ham")
    assert aliases(console, "chosen") == {"live": 1}


def test_upload_by_drop(console: Console, shelf: Shelf, task: str) -> None:
    """A dropped file becomes the next version; without the checkbox `live` does not move."""
    opened(console, task)
    drop(console, "next.safetensors", shelf.file(seed=7))
    console.page.get_by_label("Make it live immediately").uncheck()
    publish(console)
    expect(console.page.locator(".publish .notice")).to_contain_text(f"{task}@3")
    expect(console.page.locator(".publish .notice")).to_contain_text("The live version is unchanged")
    expect(console.page.locator("table.versions tbody tr")).to_have_count(3)
    assert aliases(console, task) == {"live": 2}


@pytest.mark.parametrize(
    ("data", "code", "todo"),
    [
        (make_adapter_bytes(identity=tiny_identity()), "422 other_backbone", "Train the adapter on the backbone"),
        (b"PK\x03\x04 nothing", "422 container_foreign_format", "adapter.safetensors"),
        (b"", "422 body_empty", "choose another file"),
    ],
)
def test_upload_refused(console: Console, data: bytes, code: str, todo: str) -> None:
    """A bad file is refused with reason code, message and remedy, and can be sent again."""
    console.open("tasks", KEY)
    drop(console, "bad.safetensors", data)
    publish(console)
    notice = console.page.get_by_role("alert").filter(has_text=code)
    expect(notice).to_contain_text(todo)
    expect(console.page.get_by_role("button", name="Publish")).to_be_enabled()
    assert httpx.get(f"{console.url}/admin/v1/tasks/bad", headers=ADMIN).status_code == 404


def drop(console: Console, name: str, data: bytes) -> None:
    """Drop a file onto the drop zone."""
    make = """([name, data]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
        return transfer;
    }"""
    transfer = console.page.evaluate_handle(make, [name, base64.b64encode(data).decode()])
    console.page.locator(".drop").dispatch_event("drop", {"dataTransfer": transfer})
    expect(console.page.locator(".drop")).to_contain_text(name)


@pytest.mark.parametrize(
    "odd", [{}, {"task": {"type": "single_label", "labels": "abc"}}, {"task": 1, "metrics": 5}, []]
)
def test_a_file_that_says_odd_things(console: Console, task: str, odd: object) -> None:
    """A file with malformed metadata replaces the previous preview by a warning."""
    opened(console, task)
    drop(console, "good.safetensors", make_adapter_bytes(identity=tiny_identity()))
    expect(console.page.locator(".publish .facts")).to_contain_text("single label")
    head = json.dumps({"__metadata__": {"adakron": json.dumps(odd)}}).encode()
    drop(console, "odd.safetensors", len(head).to_bytes(8, "little") + head)
    expect(console.page.locator(".publish .complaint")).to_contain_text("does not look like an adapter file")
    expect(console.page.locator(".publish .facts")).to_have_count(0)
    assert "single label" not in console.page.locator(".publish").inner_text()


def test_a_file_is_chosen_again(console: Console, task: str, tmp_path: Path) -> None:
    """The file input is cleared, so that choosing the same file again fires an event."""
    file = tmp_path / "bad.safetensors"
    file.write_bytes(b"PK nothing")
    opened(console, task)
    field = console.page.locator("input[type=file]")
    field.set_input_files(file)
    expect(console.page.locator(".drop")).to_contain_text("bad.safetensors")
    expect(field).to_have_value("")
    assert field.evaluate("field => field.files.length") == 0
    publish(console)
    expect(console.page.locator(".publish")).to_contain_text("422 container_")


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


def test_compare(console: Console, task: str) -> None:
    """Two versions answer the pasted lines; differing lines come first, and the share of equal lines is correct."""
    opened(console, task)
    console.page.get_by_label("Lines").fill("\n".join([*LINES, "", "  "]))
    console.page.get_by_role("button", name="Compare").click()
    rows = console.page.locator(".compared tbody tr")
    expect(rows).to_have_count(len(LINES))
    json_ = {"inputs": LINES, "tasks": [f"{task}@2", f"{task}@1"]}
    answers = httpx.post(f"{console.url}/v1/predict", json=json_).json()["results"]
    labels = [[item["label"] for item in answers[name]["predictions"]] for name in json_["tasks"]]
    same = [a == b for a, b in zip(*labels, strict=True)]
    assert 0 < sum(same) < len(LINES)
    expect(console.page.locator(".agreement")).to_contain_text(f"{100 * sum(same) / len(LINES):.1f}")
    marked = ["differs" in (row.get_attribute("class") or "") for row in rows.all()]
    assert marked == sorted(marked, reverse=True)
    assert marked.count(False) == sum(same)
    for row in rows.all():
        text, one, other = row.locator("th, td").all_inner_texts()
        expected = [named[LINES.index(text)] for named in labels]
        assert [one.split()[0], other.split()[0]] == expected


def test_compare_pairs(console: Console, shelf: Shelf) -> None:
    """Pairs are pasted with a tab between the texts; an error names the line without a tab."""
    shelf.put("same", seed=3, pair=True)
    opened(console, "same")
    lines = console.page.get_by_label("Lines")
    lines.fill("a film\tthe film\n\nno tab here")
    console.page.get_by_role("button", name="Compare").click()
    expect(console.page.locator(".complaint")).to_have_text(["Line 3 needs two texts with a tab between them."])
    lines.fill("a film\tthe film\nno tab\there")
    console.page.get_by_role("button", name="Compare").click()
    expect(console.page.locator(".compared tbody tr")).to_have_count(2)
    assert console.page.locator(".compared tbody tr").count() == 2


def test_leaving_the_page_ends_a_comparison(console: Console, task: str) -> None:
    """Leaving the page aborts the requests of a comparison."""
    opened(console, task)
    console.page.route("**/v1/predict", lambda route: None)
    console.page.get_by_label("Lines").fill(LINES[0])
    with console.page.expect_request("**/v1/predict"):
        console.page.get_by_role("button", name="Compare").click()
    with console.page.expect_event("requestfailed", timeout=2000) as ended:
        console.page.get_by_role("link", name="Live").click()
    assert ended.value.url.endswith("/v1/predict")


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
