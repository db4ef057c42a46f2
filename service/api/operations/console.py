"""The console: a page of static files under a strict content policy (http/headers.py).

The files need no key and contain no data: the page calls the API with the key that its user enters.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from service.settings import Settings

FOLDER = Path(__file__).parents[2] / "console"
PAGE = "index.html"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class StaticFile:
    """One file of the page."""

    content: bytes
    media_type: str
    etag: str

    def build_response(self, request: Request) -> Response:
        """Return the file, or 304 if the browser has it already."""
        headers = {"ETag": self.etag}
        known = request.headers.get("if-none-match", "").split(",")
        if any(tag.strip().removeprefix("W/") in (self.etag, "*") for tag in known):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def read_files(folder: Path = FOLDER) -> dict[str, StaticFile]:
    """Return the files of the console by name, only those with a known media type."""
    return {
        path.name: StaticFile(content, MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
        for path in sorted(folder.iterdir())
        if path.suffix in MEDIA_TYPES
        for content in [path.read_bytes()]
    }


def console_routers(settings: Settings) -> list[APIRouter]:
    """Return the routes of the page and its files, which are kept in memory; none with ADAKRON_CONSOLE=false."""
    if not settings.console:
        return []
    files = read_files()
    router = APIRouter(include_in_schema=False)

    @router.get("/console")
    async def page(request: Request) -> Response:
        return files[PAGE].build_response(request)

    @router.get("/console/{name}")
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name].build_response(request)

    @router.get("/")
    async def root(request: Request) -> Response:
        """Redirect to the console: below the prefix if it is known, else relative, as a proxy may add a prefix."""
        prefix = request.scope.get("root_path")
        return Response(status_code=307, headers={"Location": f"{prefix}/console" if prefix else "console"})

    @router.get("/console/")
    async def with_slash() -> Response:
        return Response(status_code=307, headers={"Location": "../console"})

    return [router]
