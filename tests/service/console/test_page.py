"""The files of the console: headers, policy, and no dangerous constructs. Needs no browser."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from adapters.backbone.source import LoadedBackbone
from service.api.operations.console import FOLDER, MEDIA_TYPES, PAGE, read_files
from tests.support.serving import Listening, running

MOST_LINES = 200
SOURCES = {path.name: path.read_text() for path in sorted(FOLDER.iterdir())}
SCRIPTS = {name: text for name, text in SOURCES.items() if name.endswith(".js")}
# Constructs that turn text into markup, script or style, store data beyond the tab, or contact other hosts.
FORBIDDEN = (
    r"innerHTML|outerHTML|insertAdjacentHTML|DOMParser|createContextualFragment|document\.write|srcdoc",
    r"\beval\b|new Function|setTimeout\(\s*[\"'`]|javascript:",
    r"localStorage|indexedDB|document\.cookie",
    r"setAttribute\(\s*[\"']style|cssText",
    r"WebSocket|EventSource|sendBeacon|importScripts|new Worker",
)
NAMESPACE = "http://www.w3.org/2000/svg"  # an address that is never fetched


class References(HTMLParser):
    """The references and the inline scripts and styles of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.found += [value for name, value in attributes if name in ("src", "href") and value]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


@pytest.fixture(scope="module")
def client(server: Listening) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        yield client


def test_the_page_and_its_files(client: httpx.Client) -> None:
    """Each file needs no key and has its media type and a policy that allows only the own origin."""
    names = ["", *(f"/{name}" for name in SOURCES)]
    for name in names:
        answer = client.get(f"/console{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == MEDIA_TYPES[Path(name or PAGE).suffix]
        policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self'",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "'none'",
        }
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert client.get("/console").text == SOURCES[PAGE]


def test_an_upgrade_is_picked_up(client: httpx.Client) -> None:
    """Browsers revalidate each file and get 304 while it is unchanged."""
    first = client.get("/console/app.js")
    assert first.headers["Cache-Control"] == "no-cache"
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get("/console/app.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["Content-Security-Policy"]
    assert client.get("/console/app.js", headers={"If-None-Match": '"other"'}).status_code == 200
    assert len({file.etag for file in read_files().values()}) == len(SOURCES)
    head = client.head("/console/app.js")
    assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", etag)


def test_relative_redirects(client: httpx.Client) -> None:
    """The root redirects to the console with a relative address, independent of the Host header."""
    for path, target in {"/": "console", "/console/": "../console"}.items():
        answer = client.get(path, headers={"Host": "evil.example"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (307, target)


@pytest.mark.parametrize(
    "path",
    ["../settings.py", "..%2fsettings.py", "%2e%2e/api/console.py", "/etc/passwd", "nothing.js", "INDEX.HTML", "a\\b"],
)
def test_no_other_file(client: httpx.Client, path: str) -> None:
    """No path reaches a file outside the console."""
    answer = client.get(f"/console/{path}", follow_redirects=False)
    assert answer.status_code in (307, 404)
    assert "import" not in answer.text
    assert client.post("/console").status_code == 405


def test_switched_off(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """With ADAKRON_CONSOLE=false the page, its files and the redirects are gone."""
    with running(tiny, tmp_path, console=False) as client:
        for path in ("/", "/console", "/console/", "/console/app.js"):
            assert client.get(path, follow_redirects=False).status_code == 404
        assert client.get("/v1/tasks").status_code == 200


def test_references_lead_to_files() -> None:
    """Page, scripts and styles refer only to each other, and every file is used."""
    page = References(SOURCES[PAGE])
    assert page.inline == []
    of_page = {name.removeprefix("console/") for name in page.found if name.startswith("console/")}
    assert all(name.startswith(("console/", "#")) or name == "docs" for name in page.found)
    imports = {name: set(re.findall(r'(?:from|import) "\./([^"]+)"', text)) for name, text in SCRIPTS.items()}
    assert of_page | set().union(*imports.values()) | {PAGE} == set(SOURCES)
    reached, waiting = set(), {"app.js"}
    while waiting:
        reached |= waiting
        waiting = set().union(*(imports[name] for name in waiting)) - reached
    assert reached == set(SCRIPTS)


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_dangerous(name: str) -> None:
    """No file contacts another host, turns text into markup or script, or stores data beyond the tab."""
    text = SOURCES[name]
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]", text.replace(NAMESPACE, "")), name
    for pattern in FORBIDDEN:
        assert not re.search(pattern, text), (name, pattern)
    if name.endswith(".css"):
        assert not re.search(r"url\(|@import", text), name


@pytest.mark.parametrize("name", SOURCES)
def test_small_files(name: str) -> None:
    """No file has more than 200 lines, and each script begins with a comment."""
    lines = SOURCES[name].splitlines()
    assert len(lines) <= MOST_LINES
    if name in SCRIPTS:
        assert lines[0].startswith("// ")
