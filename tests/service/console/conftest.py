"""One server and one browser for all tests here (per worker), and a new tab for each test.

Playwright's event loop must not outlive this package: asynchronous tests could not run beside it.
"""

import itertools
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from sqlalchemy import insert

from adapters.backbone.source import LoadedBackbone
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.models import Audit
from tests.service.console.browser import Console, open_browser, open_console
from tests.support.factories import make_adapter_bytes, make_gated_bytes
from tests.support.serving import Listening, listening, settings_for

HOSTILE = ("<img src=x onerror=document.title='ran'>", "</script><script>document.title='ran'</script>", "__proto__")
TOPICS = tuple(f"topic {number}" for number in range(1, 13))
TWO = [0, 5]  # seeds of the versions of `task`, which agree on most texts
numbers = itertools.count(1)


class Shelf:
    """Publishes adapters directly in the registry of a running server, without a dry run."""

    def __init__(self, loaded: LoadedBackbone, folder: Path) -> None:
        self._identity = loaded.identity
        self._registry = Registry.open(settings_for(folder).resolved_registry_url)

    def close(self) -> None:
        """Close the registry."""
        self._registry.close()

    def put(self, task: str, seed: int = 0, *, activate: bool = True, **options: object) -> None:
        """Publish the next version of `task`, even if it breaks clients; `options` go to make_adapter_bytes."""
        checked = check_upload(self.file(seed, **options))
        self._registry.publish(task, checked, activate=activate, allow_incompatible=True)

    def put_gated(self, task: str, keys: list[str]) -> None:
        """Publish a version with a gate for each of `keys`, by the field user."""
        self._registry.publish(task, check_upload(make_gated_bytes(identity=self._identity, keys=keys)))

    def record(self, task: str, aliases: list[str]) -> None:
        """Write an audit row for each alias in one transaction, which is much faster than setting the aliases."""
        same = {"at": datetime(2026, 1, 1), "actor": "test", "source": "", "action": "set_alias", "detail": ""}
        with self._registry._engine.begin() as connection:
            connection.execute(
                insert(Audit), [same | {"task": task, "version": 1, "alias": alias} for alias in aliases]
            )

    def activate(self, task: str, version: int) -> None:
        """Move `live` as another user would."""
        self._registry.set_alias(task, "live", version)

    def key(self, *scopes: str, tasks: tuple[str, ...] = ()) -> str:
        """Create a key and return its text."""
        return self._registry.create_key("test", scopes, tasks, actor="test", source="")[1]

    def file(self, seed: int = 0, **options: object) -> bytes:
        """Make an adapter file for the server's backbone."""
        return make_adapter_bytes(identity=self._identity, seed=seed, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("console")


@pytest.fixture(scope="package")
def server(tiny: LoadedBackbone, folder: Path) -> Iterator[Listening]:
    """A server on the tiny backbone."""
    with listening(tiny, folder) as server:
        yield server


@pytest.fixture(scope="package")
def shelf(server: Listening, tiny: LoadedBackbone, folder: Path) -> Iterator[Shelf]:
    """The tasks of the server: one of each kind."""
    with closing(Shelf(tiny, folder)) as shelf:
        shelf.put("mood")
        shelf.put("topics", type="multi_label", labels=TOPICS)
        shelf.put("same", pair=True)
        shelf.put("alike", type="regression", labels=(), pair=True)
        shelf.put("hostile", labels=HOSTILE)
        yield shelf


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def console(browser: Browser, server: Listening, shelf: Shelf) -> Iterator[Console]:
    with open_console(browser, f"http://127.0.0.1:{server.port}") as console:
        yield console


@pytest.fixture
def task(shelf: Shelf) -> str:
    """A new task with two versions, the second live."""
    name = f"own-{next(numbers)}"
    for seed in TWO:
        shelf.put(name, seed)
    return name
