"""Make the pictures of docs/console.md: `python -m tests.service.console.screenshots`; needs Chromium."""

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser

from adapters import checkpoint
from adapters.adapter import Adapter
from tests.service.console.browser import Console, open_browser, open_console
from tests.support.paths import ROOT
from tests.support.processes import Server, server_process

FOLDER = ROOT / "docs" / "console"
SHIPPED = ROOT / "adapters" / "pretrained"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1200, "height": 760}}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 1.5}
MOST_BYTES = 200_000
TEXT = "A warm, funny and moving film, though the ending drags."
SECOND = "The film is moving and funny, but too long."
LINES = """A warm, funny and moving film.
The plot is thin, and the jokes are older than the actors.
I would not see it again.
Not bad at all.
It tries hard, and that is the best one can say.
The camera work alone is worth the ticket."""


def publish(server: Server, task: str, data: bytes) -> None:
    """Publish the next version without making it live."""
    headers = server.headers | {"Content-Type": "application/octet-stream"}
    url = f"{server.url}/admin/v1/tasks/{task}/versions?activate=false"
    httpx.post(url, content=data, headers=headers, timeout=60).raise_for_status()


def another(data: bytes, share: float) -> bytes:
    """Scale the effect of an adapter, for a similar version."""
    adapter: Adapter = checkpoint.parse(data)
    tensors = {name: share * tensor if ".up." in name else tensor for name, tensor in adapter.tensors.items()}
    metadata = adapter.metadata.model_copy(update={"examples": (), "metrics": {}})
    return checkpoint.serialize(metadata, tensors)


def ask(url: str, stop: threading.Event) -> None:
    """Send requests at a varying rate until `stop` is set."""
    began = time.monotonic()
    while not stop.is_set():
        tasks = ["sst2", "cola"] if int(time.monotonic() - began) % 9 < 5 else ["sst2"]
        httpx.post(f"{url}/v1/predict", json={"inputs": TEXT, "tasks": tasks}, timeout=60)
        stop.wait(0.05)


def try_view(console: Console) -> None:
    """Show the answers of tasks on pairs."""
    console.open("try")
    console.page.wait_for_selector(".option")
    console.page.get_by_role("radio", name="Pair").check()
    console.page.get_by_label("Text", exact=True).last.fill(TEXT)
    console.page.get_by_label("Second text").fill(SECOND)
    for name in ("cola", "sst2"):
        console.page.get_by_role("checkbox", name=name).uncheck()
    for name in ("mrpc", "rte", "stsb"):
        console.page.get_by_role("checkbox", name=name).check()
    console.page.get_by_role("button", name="Run").click()
    console.page.wait_for_selector(".result")
    console.page.get_by_role("button", name="Run").click()  # the first of a server takes longer
    console.page.wait_for_timeout(1500)


def text_view(console: Console) -> None:
    """Show the answers to a text."""
    console.open("try")
    console.page.wait_for_selector(".option")
    console.page.get_by_label("Text", exact=True).last.fill(TEXT)
    console.page.get_by_role("button", name="Run").click()
    console.page.wait_for_timeout(1500)


def task_view(console: Console, key: str) -> None:
    """Show a task with two compared versions."""
    console.open("tasks/sst2", key)
    console.page.wait_for_selector("table.versions")
    console.page.get_by_label("Against").fill("3")
    console.page.get_by_label("Lines").fill(LINES)
    console.page.get_by_role("button", name="Compare").click()
    console.page.wait_for_selector(".compared")
    console.page.evaluate("scrollTo(0, 0)")


def shoot(console: Console, name: str, **options: Any) -> None:
    """Write one picture of limited size."""
    file = FOLDER / f"{name}.png"
    file.write_bytes(console.page.screenshot(**options))
    assert file.stat().st_size < MOST_BYTES, f"{file.name} has {file.stat().st_size} bytes"


def pictures(browser: Browser, server: Server) -> None:
    """Make all pictures; requests run only during the last."""
    with open_console(browser, server.url, **DESKTOP) as console:
        try_view(console)
        shoot(console, "try")
    with open_console(browser, server.url, viewport={"width": 1200, "height": 1180}) as console:
        task_view(console, server.key)
        shoot(console, "task")
    with open_console(browser, server.url, **PHONE) as console:
        text_view(console)
        shoot(console, "phone", full_page=True)
    stop = threading.Event()
    user = threading.Thread(target=ask, args=(server.url, stop))
    user.start()
    try:
        with open_console(browser, server.url, color_scheme="dark", **DESKTOP) as console:
            console.open("live")
            console.page.wait_for_timeout(62_000)
            shoot(console, "dark")
    finally:
        stop.set()
        user.join()


def main() -> None:
    """Start a server with the shipped adapters and two more versions, and make the pictures."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, server_process(Path(folder)) as server, open_browser() as browser:
        data = (SHIPPED / "sst2.safetensors").read_bytes()
        for share in (0.8, 0.55):
            publish(server, "sst2", another(data, share))
        alias = f"{server.url}/admin/v1/tasks/sst2/aliases/canary"
        httpx.put(alias, json={"version": 3}, headers=server.headers).raise_for_status()
        pictures(browser, server)


if __name__ == "__main__":
    main()
