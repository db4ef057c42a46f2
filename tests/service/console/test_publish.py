"""Publishing a file: choosing or dropping it, its preview, the upload and refusals."""

import base64
import json
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.service.console.browser import Console
from tests.service.console.conftest import Shelf
from tests.service.console.pages import aliases, opened
from tests.support.factories import make_adapter_bytes, tiny_identity
from tests.support.serving import ADMIN, KEY


def publish(console: Console) -> None:
    """Press Publish and wait for the result."""
    console.page.get_by_role("button", name="Publish").click()
    console.page.wait_for_selector(".publish .notice.good, .publish .notice.bad")


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
