"""A small Hugging Face Hub on 127.0.0.1: the routes that huggingface_hub calls to push and pull a model."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants

TOKEN = "hf_secret_of_the_tests"


@dataclass
class Model:
    """One repository: the files of each commit, and the commit of each branch."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add `files` to those of the branch; return the new commit's name."""
        before = self.commits.get(self.branches.get(branch, ""), {})
        name = hashlib.sha1(f"{len(self.commits)} {branch}".encode()).hexdigest()
        self.commits[name] = before | files
        self.branches[branch] = name
        return name


@dataclass
class FakeHub:
    """The Hub's content, and the requests it received. A test may change both between requests."""

    url: str = ""
    models: dict[str, Model] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)  # method and path
    fails: dict[str, int] = field(default_factory=dict)  # part of a path -> status of the answer
    sends: dict[str, bytes] = field(default_factory=dict)  # file -> the bytes sent instead
    claims: dict[str, int] = field(default_factory=dict)  # file -> the size that is stated

    def new(self, name: str, **options: Any) -> Model:
        """Create a repository as the Hub does."""
        self.models[name] = Model(**options)
        self.models[name].commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        return self.models[name]

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        """Return the files of the newest commit of the branch."""
        model = self.models[name]
        return model.commits[model.branches[branch]]


class Failure(Exception):
    """An error answer, with the code that the Hub's library reads."""

    def __init__(self, status: int, code: str = "", said: str = "", **body: str) -> None:
        super().__init__(said or code)
        self.status, self.code, self.said, self.body = status, code, said, {"error": said, **body}


def talk_to(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process push to the Hub and pull from it, as with HF_ENDPOINT and HF_TOKEN."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Yield a Hub that listens on a free port."""
    hub = FakeHub()

    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._do(self._get)

    def do_HEAD(self) -> None:
        self._do(self._get)

    def do_POST(self) -> None:
        self._do(self._post)

    def do_PUT(self) -> None:
        self._do(self._put)

    def _do(self, answer: Any) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        path = unquote(address.path)
        self.hub.requests.append((self.command, path))
        try:
            for part, status in self.hub.fails.items():
                if part in path:
                    raise Failure(status, said=f"told to fail, {self.headers.get('Authorization')}")
            found = answer(path.strip("/").split("/"), body, parse_qs(address.query))
        except Failure as error:
            said = json.dumps(error.body).encode()
            headers = {"X-Error-Code": error.code, "X-Error-Message": error.said}
            self._send(error.status, said, {name: value for name, value in headers.items() if value})
            return
        if isinstance(found, tuple):
            self._send(200, *found)
        else:
            self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _model(self, name: str) -> Model:
        model = self.hub.models.get(name)
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if model is None or (model.private and not known):
            raise Failure(404 if known else 401, "RepoNotFound")
        if model.gated and not known:
            raise Failure(403, "GatedRepo", "Access is restricted.")
        return model

    def _require_token(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Failure(401, said="Invalid credentials in Authorization header")

    @staticmethod
    def _commit(model: Model, revision: str) -> str:
        commit = model.branches.get(revision, revision)
        if commit not in model.commits:
            raise Failure(404, "RevisionNotFound")
        return commit

    def _get(self, path: list[str], body: bytes, query: dict[str, list[str]]) -> Any:
        match path:
            case ["api", "models", owner, name, *rest]:
                model = self._model(f"{owner}/{name}")
                commit = self._commit(model, "/".join(rest[1:]) or "main")
                siblings = [self._entry(file, data) for file, data in model.commits[commit].items()]
                return {"id": f"{owner}/{name}", "sha": commit, "private": model.private, "siblings": siblings}
            case [owner, name, "resolve", revision, *file]:
                model = self._model(f"{owner}/{name}")
                commit = self._commit(model, revision)
                data = model.commits[commit].get("/".join(file))
                if data is None:
                    raise Failure(404, "EntryNotFound")
                data = self.hub.sends.get("/".join(file), data)
                return data, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        raise Failure(404)

    def _entry(self, file: str, data: bytes) -> dict[str, Any]:
        size = self.hub.claims.get(file, len(data))
        entry: dict[str, Any] = {"rfilename": file, "size": size, "blobId": hashlib.sha1(data).hexdigest()}
        if file.endswith(".safetensors"):
            entry["lfs"] = {"size": size, "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 130}
        return entry

    def _post(self, path: list[str], body: bytes, query: dict[str, list[str]]) -> Any:
        match path:
            case ["api", "validate-yaml"]:
                if "license: no-such-licence" in json.loads(body)["content"]:
                    raise Failure(400, said='"license" must be one of [apache-2.0, mit, ...]')
                return {"errors": [], "warnings": []}
            case ["api", "repos", "create"]:
                return self._create(json.loads(body))
            case ["api", "models", owner, name, "branch", *branch]:
                model = self._model(f"{owner}/{name}")
                self._require_token()
                if "/".join(branch) in model.branches:
                    raise Failure(409)
                model.branches["/".join(branch)] = model.branches["main"]
                return {}
            case ["api", "models", owner, name, "preupload", *_]:
                self._model(f"{owner}/{name}")
                self._require_token()
                files = json.loads(body)["files"]
                modes = {file["path"]: "lfs" if file["path"].endswith(".safetensors") else "regular" for file in files}
                return {
                    "files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
                }
            case [_, _, "info", "lfs", "objects", "batch"]:
                self._require_token()
                objects = json.loads(body)["objects"]
                for entry in objects:
                    entry["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{entry['oid']}"}}
                return {"transfer": "basic", "objects": objects}
            case ["api", "models", owner, name, "commit", *revision]:
                self._require_token()
                return self._store(
                    f"{owner}/{name}", "/".join(revision), [json.loads(line) for line in body.splitlines()]
                )
        raise Failure(404)

    def _create(self, wanted: dict[str, Any]) -> Any:
        self._require_token()
        name = f"{wanted.get('organization') or 'tester'}/{wanted['name']}"
        if name in self.hub.models:
            raise Failure(409, said="You already created this model repo", url=f"{self.hub.url}/{name}")
        self.hub.new(name, private=wanted.get("visibility") == "private" or wanted.get("private") is True)
        return {"url": f"{self.hub.url}/{name}"}

    def _put(self, path: list[str], body: bytes, query: dict[str, list[str]]) -> Any:
        if hashlib.sha256(body).hexdigest() != path[1]:
            raise Failure(422)
        self.hub.lfs[path[1]] = body
        return {}

    def _store(self, name: str, branch: str, lines: list[dict[str, Any]]) -> Any:
        model = self._model(name)
        header, *entries = (line["value"] for line in lines)
        if header.get("parentCommit", model.branches[branch]) != model.branches[branch]:
            raise Failure(412, said="A commit has happened since")
        files = {
            entry["path"]: self.hub.lfs[entry["oid"]] if "oid" in entry else base64.b64decode(entry["content"])
            for entry in entries
        }
        commit = model.commit(files, branch)
        return {"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit}
