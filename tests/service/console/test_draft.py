"""The input of the Try view: texts and pairs, empty texts, examples, and the request as code."""

import shlex
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.service.console.browser import Console
from tests.service.console.conftest import Shelf
from tests.service.console.pages import module
from tests.service.console.test_try import choose, run
from tests.support.serving import KEY

ODD = 'it\'s "odd" `$(id)` \\ é 🙂 ${HOME}!'


def chosen(console: Console) -> list[str]:
    chips = console.page.get_by_role("list", name="Chosen tasks").get_by_role("listitem")
    return [chip.locator("span").first.inner_text() for chip in chips.all()]


def test_a_pair_sets_tasks_of_texts_aside(console: Console) -> None:
    """Pair unchooses tasks on single texts, and Text those on pairs; switching back restores the choice."""
    console.open()
    choose(console, "mood", "topics")
    console.page.get_by_role("radio", name="Pair").check()
    assert "alike" in chosen(console)  # preselected, because no task on pairs was chosen
    assert not {"mood", "topics"} & set(chosen(console))
    choose(console, "same")
    console.page.get_by_role("radio", name="Text").check()
    assert chosen(console) == ["mood", "topics"]
    console.page.get_by_role("radio", name="Pair").check()
    assert chosen(console) == ["same"]


def test_an_empty_text_is_marked(console: Console) -> None:
    """An empty text is marked and focused, and no request is sent; typing removes the mark."""
    console.open()
    choose(console, "same")
    console.page.get_by_role("radio", name="Pair").check()
    asked: list[str] = []
    console.page.on("request", lambda request: asked.append(request.url))
    first, second = console.page.get_by_label("Text", exact=True).last, console.page.get_by_label("Second text")
    first.fill("a text")
    second.fill(" \n ")
    console.page.get_by_role("button", name="Run").click()
    expect(second).to_have_attribute("aria-invalid", "")
    expect(second).to_be_focused()
    expect(console.page.locator(".texts .complaint")).to_have_text("Enter a text first.")
    assert first.get_attribute("aria-invalid") is None
    assert not [url for url in asked if url.endswith("/v1/predict")]
    second.press_sequentially("b")
    expect(console.page.locator(".texts .complaint")).to_have_count(0)
    assert second.get_attribute("aria-invalid") is None
    run(console)
    expect(console.page.get_by_role("article", name="same")).to_be_visible()


def test_examples_are_filled_in(console: Console, shelf: Shelf) -> None:
    """A click on an example of the adapter file fills in the fields, for keys with the scope upload."""
    shelf.put("told", examples=("a first example", "x" * 200))
    shelf.put("paired", pair=True, examples=(("one side", "the other"),))
    console.open()
    choose(console, "told")
    expect(console.page.locator(".examples")).to_be_hidden()
    console.give_key()
    buttons = console.page.locator(".examples").get_by_role("button")
    expect(buttons).to_have_count(2)
    assert len(buttons.nth(1).inner_text()) < 70
    buttons.first.click()
    expect(console.page.get_by_label("Text", exact=True).last).to_have_value("a first example")
    run(console)
    console.page.get_by_role("radio", name="Pair").check()
    choose(console, "paired")
    buttons.first.click()
    expect(console.page.get_by_label("Second text")).to_have_value("the other")


@pytest.mark.parametrize("tasks", [["mood"], ["mood", "topics"]])
def test_the_request_as_code(console: Console, tasks: list[str]) -> None:
    """The shown command and program send the same request as the page and do not contain the key."""
    console.open("try", KEY)
    choose(console, *tasks)
    console.page.get_by_label("Text", exact=True).last.fill(ODD)
    console.page.get_by_role("button", name="As curl or Python…").click()
    dialog = console.page.locator("dialog")
    command, program = (dialog.get_by_role("textbox", name=name).inner_text() for name in ("curl", "Python"))
    console.confirm("Close")
    assert KEY not in command + program
    environment = {"ADAKRON_KEY": KEY, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "NO_PROXY": "*"}
    for line in (["sh", "-c", command], [sys.executable, "-c", program]):
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=True)
        assert '"mood"' in done.stdout.replace("'", '"')
        assert "error" not in done.stdout
    words = shlex.split(command)
    body = module(console, "http", "(m, text) => m.parseJson(text)", words[words.index("-d") + 1])
    assert body["inputs"] == ODD
    assert body.get("tasks", ["mood"]) == tasks
