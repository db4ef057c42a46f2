"""The console: a page of static files, under a policy (http/headers.py) that lets nothing else into it.

It needs no key, and holds nothing: what it shows it asks the API for, with the key that its user gives it.
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
    """One file, as it is sent."""

    content: bytes
    media_type: str
    etag: str

    def answer(self, request: Request) -> Response:
        """The file, or 304 where the browser has it already."""
        headers = {"ETag": self.etag}
        known = request.headers.get("if-none-match", "").split(",")
        if any(tag.strip().removeprefix("W/") in (self.etag, "*") for tag in known):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def read_files(folder: Path = FOLDER) -> dict[str, StaticFile]:
    """Everything that the console may send, by name. What else lies there, and every other path, is not found."""
    return {
        path.name: StaticFile(content, MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
        for path in sorted(folder.iterdir())
        if path.suffix in MEDIA_TYPES
        for content in [path.read_bytes()]
    }


def console_routers(settings: Settings) -> list[APIRouter]:
    """The page and its files, from memory; none with ADAKRON_CONSOLE=false."""
    if not settings.console:
        return []
    files = read_files()
    router = APIRouter(include_in_schema=False)

    @router.get("/console")
    async def page(request: Request) -> Response:
        return files[PAGE].answer(request)

    @router.get("/console/{name}")
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name].answer(request)

    @router.get("/")
    async def root(request: Request) -> Response:
        """Under the prefix of the path, if it is known; else relative, as a proxy may have put one before the path."""
        prefix = request.scope.get("root_path")
        return Response(status_code=307, headers={"Location": f"{prefix}/console" if prefix else "console"})

    @router.get("/console/")
    async def with_slash() -> Response:
        return Response(status_code=307, headers={"Location": "../console"})

    return [router]
