"""Comparing two versions of a task on the lines of a user."""

import httpx
from playwright.sync_api import expect

from tests.service.console.browser import Console
from tests.service.console.conftest import Shelf
from tests.service.console.pages import opened

LINES = ["a good film", "a bad film", "the cat sleeps", "a sad song about the sea", "money for the house"]


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
