"""The Try view: requests and how answers are shown."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.service.console.browser import Console
from tests.service.console.conftest import HOSTILE, TOPICS, Shelf

TEXT = "a good film about the sea"
INVISIBLE = "\u200b\u00ad"  # a zero-width space and a soft hyphen


def choose(console: Console, *references: str) -> None:
    """Choose exactly these tasks, by name, version or alias."""
    chips = console.page.get_by_role("list", name="Chosen tasks").get_by_role("button")
    console.page.wait_for_selector(".option")
    while chips.count():
        chips.first.click()
    entry = console.page.get_by_label("Filter tasks, or name a version")
    for reference in references:
        entry.fill(reference)
        console.page.get_by_role("checkbox", name=re.compile(rf"^{reference}(\s|$)")).check()
    entry.fill("")


def run(console: Console) -> None:
    """Press Run and wait for the answers."""
    with console.page.expect_response("**/v1/predict"):
        console.page.get_by_role("button", name="Run").click()
    console.page.wait_for_selector(".output:not([aria-busy])")


def test_one_task(console: Console) -> None:
    """The answer of one task has a bar for each label, best first, with version, tokens and times."""
    console.open()
    choose(console, "mood")
    console.page.get_by_label("Text", exact=True).last.fill(TEXT)
    run(console)
    answer = httpx.post(f"{console.url}/v1/mood/predict", json={"inputs": TEXT}).json()
    (prediction,) = answer["predictions"]
    card = console.page.get_by_role("article", name="mood")
    expect(card.locator(".answer")).to_have_text(prediction["label"])
    rows = card.locator(".bars li")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text(f"{100 * prediction['score']:.1f}\u00a0%")
    width = rows.first.locator(".fill").evaluate("fill => fill.getBoundingClientRect().width")
    track = rows.first.locator(".track").evaluate("track => track.getBoundingClientRect().width")
    assert width / track == pytest.approx(prediction["score"], abs=0.02)
    for words in (
        "version 1",
        f"{prediction['tokens']} tokens",
        "tokenize",
        "queue",
        "inference",
        answer["digest"][:12],
    ):
        expect(card).to_contain_text(words)
    expect(console.page.locator("#said")).to_contain_text(f"mood: {prediction['label']}")


def test_several_tasks(console: Console) -> None:
    """A text for several tasks is one request; a task on pairs shows its error beside the other answers."""
    console.open()
    choose(console, "mood@1", "topics", "same", "hostile")
    console.page.get_by_label("Text", exact=True).last.fill(TEXT)
    run(console)
    cards = console.page.get_by_role("article")
    expect(cards).to_have_count(4)
    assert [card.get_attribute("aria-label") for card in cards.all()] == ["mood@1", "topics", "same", "hostile"]
    expect(cards.nth(2)).to_contain_text("validation")
    expect(cards.nth(2)).to_contain_text("This task takes two texts: choose Pair above.")
    expect(cards.nth(0).locator(".bars")).to_be_visible()
    expect(console.page.locator(".summary")).to_contain_text("4 tasks, 1 failed")


def test_several_labels(console: Console) -> None:
    """A multi-label task shows the threshold, marks the labels above it, and shows more labels on request."""
    console.open()
    choose(console, "topics")
    console.page.get_by_label("Text", exact=True).last.fill(TEXT)
    run(console)
    (prediction,) = httpx.post(f"{console.url}/v1/topics/predict", json={"inputs": TEXT}).json()["predictions"]
    card = console.page.get_by_role("article", name="topics")
    expect(card.locator(".threshold")).to_have_count(8)
    expect(card).to_contain_text("The line is the threshold, 50.0\u00a0%.")
    card.get_by_role("button", name="4 more").click()
    expect(card.locator(".bars li").nth(8)).to_be_focused()
    expect(card.locator(".bars li")).to_have_count(len(TOPICS))
    chosen = card.locator(".bars li.on .label").all_inner_texts()
    assert sorted(chosen) == sorted(prediction["labels"])


def test_a_pair(console: Console) -> None:
    """A pair goes to tasks on pairs; a regression shows its value."""
    console.open()
    choose(console, "same", "alike")
    console.page.get_by_role("radio", name="Pair").check()
    console.page.get_by_label("Text", exact=True).last.fill(TEXT)
    console.page.get_by_label("Second text").fill("a boring film")
    run(console)
    inputs = {"text": TEXT, "text_pair": "a boring film"}
    (prediction,) = httpx.post(f"{console.url}/v1/alike/predict", json={"inputs": inputs}).json()["predictions"]
    shown = float(console.page.get_by_role("article", name="alike").locator(".value .figure").inner_text())
    assert shown == pytest.approx(prediction["value"], rel=0.01, abs=0.001)
    expect(console.page.get_by_role("article", name="same").locator(".bars li")).to_have_count(2)


def test_requests_without_an_answer(console: Console) -> None:
    """A request without a task, an invisible text and an unknown version each show their error."""
    console.open()
    choose(console)
    console.page.get_by_role("button", name="Run").click()
    expect(console.page.get_by_role("alert")).to_contain_text("Choose a task first")
    choose(console, "mood@99", "mood")
    console.page.get_by_label("Text", exact=True).last.fill(INVISIBLE)
    run(console)
    expect(console.page.get_by_role("article", name="mood@99")).to_contain_text("has no version 99")
    expect(console.page.get_by_role("article", name="mood", exact=True)).to_contain_text("is empty")
    assert console.page.locator(".bars li").count() == 0


def test_a_truncated_text(console: Console) -> None:
    """A text over the task's limit is marked as truncated, or refused if the user chooses so."""
    console.open()
    choose(console, "mood")
    console.page.get_by_label("Text", exact=True).last.fill("film " * 200)
    run(console)
    expect(console.page.get_by_role("article", name="mood")).to_contain_text("truncated")
    console.page.get_by_label("Truncate long texts").select_option("never: refuse the text")
    run(console)
    expect(console.page.get_by_role("article", name="mood").get_by_role("alert")).to_contain_text("tokens")
    assert console.page.locator(".bars li").count() == 0


def test_labels_that_look_like_markup(console: Console) -> None:
    """Labels with markup are shown literally everywhere, and their scripts never run."""
    console.open()
    choose(console, "hostile")
    console.page.get_by_label("Text", exact=True).last.fill("<b>bold</b>")
    run(console)
    shown = console.page.get_by_role("article", name="hostile").locator(".bars .label").all_inner_texts()
    assert sorted(shown) == sorted(HOSTILE)
    console.go("tasks")
    console.page.get_by_label("Filter tasks").fill("hostile")
    expect(console.page.locator(".tasks")).to_contain_text(HOSTILE[0])
    console.give_key()
    console.go("tasks/hostile")
    expect(console.page.locator(".about .chip")).to_have_text(list(HOSTILE))
    assert console.page.locator("main img, main script").count() == 0
    assert "ran" not in console.page.title()


def test_enter_takes_what_is_typed(console: Console) -> None:
    """Enter in the filter chooses the first match, even directly after the last letter."""
    console.open()
    choose(console)
    console.page.get_by_label("Filter tasks, or name a version").evaluate("""filter => {
        filter.value = "topics";
        filter.dispatchEvent(new Event("input"));
        filter.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
    }""")
    chosen = console.page.get_by_role("list", name="Chosen tasks").get_by_role("listitem")
    expect(chosen).to_have_count(1)
    expect(chosen).to_contain_text("topics")
    assert chosen.count() == 1


def test_leaving_the_view_ends_a_request(console: Console) -> None:
    """Leaving the view aborts its request and shows no error."""
    console.open()
    choose(console, "mood")
    console.page.get_by_label("Text", exact=True).last.fill(TEXT)
    console.page.route("**/v1/predict", lambda route: None)
    with console.page.expect_request("**/v1/predict"):
        console.page.get_by_role("button", name="Run").click()
    with console.page.expect_event("requestfailed", timeout=2000):
        console.page.get_by_role("link", name="Live").click()
    console.page.get_by_role("link", name="Try").click()
    expect(console.page.locator(".output")).to_have_text(re.compile("^The answers appear here"))
    assert console.page.get_by_role("alert").count() == 0


def test_the_input_stays_in_the_page(console: Console, shelf: Shelf) -> None:
    """Text and answers are kept while other views are open, and are not part of the address."""
    console.open()
    choose(console, "mood")
    console.page.get_by_label("Text", exact=True).last.fill(TEXT)
    run(console)
    console.page.get_by_role("link", name="Live").click()
    console.page.get_by_role("link", name="Try").click()
    expect(console.page.get_by_label("Text", exact=True).last).to_have_value(TEXT)
    expect(console.page.get_by_role("article", name="mood")).to_be_visible()
    assert console.page.url == f"{console.url}/console#try"
    assert console.page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_a_context(console: Console, shelf: Shelf) -> None:
    """A task with gates shows an input for its field, which other tasks of the request ignore; the answer names the
    gate."""
    shelf.put_gated("zz-user", ["u1", "u2"])
    console.open()
    entry = console.page.get_by_label("Context: user")
    choose(console, "mood")
    expect(entry).to_have_count(0)
    choose(console, "zz-user", "mood")
    console.page.get_by_label("Text", exact=True).last.fill(TEXT)
    card = console.page.get_by_role("article", name="zz-user")
    for key, gate in (("", "mean gate"), ("u2", "gate by user"), ("stranger", "mean gate")):
        entry.fill(key)
        run(console)
        expect(card).to_contain_text(gate)
    expect(console.page.get_by_role("article", name="mood")).not_to_contain_text("gate")
    console.page.get_by_role("button", name="As curl or Python…").click()
    expect(console.page.locator("dialog")).to_contain_text('"context":{"user":"stranger"}')
