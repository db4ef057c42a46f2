"""Versions that break clients of the live version: warnings and confirmations."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from adapters.config import TaskSpec
from service.registry.compatibility import compare
from tests.service.console.browser import Console
from tests.service.console.conftest import Shelf
from tests.service.console.pages import aliases, module, opened
from tests.support.serving import KEY

MANY = tuple(f"label {number}" for number in range(30))
SPECS: list[dict[str, Any]] = [
    {"type": "single_label", "labels": ("a", "b")},
    {"type": "single_label", "labels": ("b", "a")},
    {"type": "single_label", "labels": ("a", "b", "c")},
    {"type": "single_label", "labels": ("c", "a")},
    {"type": "single_label", "labels": MANY},
    {"type": "single_label", "labels": ("x" * 64, "y" * 40)},
    {"type": "multi_label", "labels": ("a", "b"), "max_length": 32},
    {"type": "regression", "labels": (), "pair": True},
]


def test_the_rule_is_the_server_s(console: Console) -> None:
    """The console and the server describe the differences between two versions in the same words."""
    console.open()
    specs: list[tuple[TaskSpec, str | None]] = [
        (TaskSpec(**{"pair": False, "pooling": "mean", "max_length": 64} | spec), None) for spec in SPECS
    ]
    specs += [(specs[0][0], "user"), (specs[0][0], "language")]
    pairs = [(one, other) for one in specs for other in specs]
    shown = [[spec.model_dump(mode="json") | {"context": field} for spec, field in pair] for pair in pairs]
    found = module(console, "differences", "(m, pairs) => pairs.map(([a, b]) => m.compared(a, b))", shown)
    expected = [compare(1, one[0], other[0], (one[1], other[1])) for one, other in pairs]
    words = [{"breaking": one.breaking if one else [], "notes": one.notes if one else []} for one in expected]
    assert found == words
    assert sum(bool(one["breaking"]) for one in found) > 20


def test_activate_what_breaks_clients(console: Console, shelf: Shelf) -> None:
    """Activate and Roll back list breaking changes and do nothing until the user allows them."""
    shelf.put("turned", labels=("x", "y"))
    shelf.put("turned", labels=("negative", "positive"), activate=False)
    opened(console, "turned")
    expect(console.page.get_by_role("button", name="Roll back")).to_have_accessible_description(
        "There is no earlier live version."
    )
    console.page.get_by_role("button", name="Activate version 2").click()
    dialog = console.page.locator("dialog")
    expect(dialog.locator(".breaks")).to_contain_text("labels removed: 'x', 'y'")
    dialog.get_by_role("button", name="Activate version 2").click()
    expect(dialog.locator(".complaint")).to_contain_text("Check the box to allow it")
    assert aliases(console, "turned") == {"live": 1}
    dialog.get_by_role("checkbox").check()
    console.confirm("Activate version 2")
    assert aliases(console, "turned") == {"live": 2}
    console.page.get_by_role("button", name="Roll back to 1").click()
    expect(dialog.locator(".breaks")).to_contain_text("labels removed: 'negative', 'positive'")
    dialog.get_by_role("checkbox").check()
    console.confirm("Roll back")
    assert aliases(console, "turned") == {"live": 1}


@pytest.mark.parametrize("allowed", [False, True])
def test_publish_what_breaks_clients(console: Console, shelf: Shelf, tmp_path: Path, allowed: bool) -> None:
    """The preview of a file lists breaking changes; the file is published without becoming live, or live if allowed."""
    task = f"bent-{allowed}".lower()
    shelf.put(task, type="regression", labels=(), pair=True)
    file = tmp_path / "adapter.safetensors"
    file.write_bytes(shelf.file(3))
    opened(console, task)
    panel = console.page.get_by_role("complementary", name="Publish an adapter")
    panel.locator("input[type=file]").set_input_files(file)
    expect(panel.locator(".breaks")).to_contain_text("type: regression -> single_label")
    expect(panel.locator(".breaks")).to_contain_text("inputs: pairs of texts -> single texts")
    send = panel.get_by_role("button", name="Publish")
    expect(send).to_have_accessible_description(
        "This version breaks clients: allow that, or do not make it live immediately."
    )
    panel.get_by_label("Publish live although it breaks clients" if allowed else "Make it live immediately").click()
    send.click()
    expect(panel.locator(".notice.good")).to_contain_text(f"{task}@2")
    assert aliases(console, task) == {"live": 2 if allowed else 1}


def test_only_the_server_sees_it(console: Console, shelf: Shelf, tmp_path: Path) -> None:
    """If another version became live after the preview, the server publishes the file without making it live."""
    shelf.put("late")
    file = tmp_path / "adapter.safetensors"
    file.write_bytes(shelf.file(3))
    opened(console, "late")
    panel = console.page.get_by_role("complementary", name="Publish an adapter")
    panel.locator("input[type=file]").set_input_files(file)
    expect(panel.get_by_text("single label")).to_be_visible()
    expect(panel.locator(".differences")).to_have_count(0)
    shelf.put("late", labels=("other", "labels"))
    panel.get_by_role("button", name="Publish").click()
    expect(panel.locator(".notice.bad")).to_contain_text("409 incompatible")
    expect(panel.get_by_role("link", name="late@3")).to_be_visible()
    assert aliases(console, "late") == {"live": 2}
    assert KEY not in console.page.content()
