"""Open pages of the console, read its state and call functions of its modules."""

from typing import Any

import httpx

from tests.service.console.browser import Console
from tests.support.serving import ADMIN, KEY


def module(console: Console, name: str, body: str, argument: Any = None) -> Any:
    """Call a function of a console module in the browser: `body` gets the module as `m` and `argument` as `a`."""
    script = f"async a => {{ const m = await import('/console/{name}.js'); return (({body}))(m, a); }}"
    return console.page.evaluate(script, argument)


def opened(console: Console, task: str) -> None:
    """Open the page of a task with the admin key."""
    console.open(f"tasks/{task}", KEY)
    console.page.wait_for_selector("table.versions")


def aliases(console: Console, task: str) -> dict[str, int]:
    """Read the aliases from the server."""
    found: dict[str, int] = httpx.get(f"{console.url}/admin/v1/tasks/{task}", headers=ADMIN).json()["aliases"]
    return found
