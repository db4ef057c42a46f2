"""A server for the commands, a working directory that names it, and adapter files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.factories import make_adapter_bytes
from tests.support.serving import KEY, Listening, listening


@pytest.fixture(scope="module")
def server(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tiny, tmp_path_factory.mktemp("server"), require_key=True) as server:
        yield server


@pytest.fixture
def here(server: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and the environment variables that name the server and its key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADAKRON_ADMIN_KEY", raising=False)
    monkeypatch.delenv("ADAKRON_DATA_DIR", raising=False)
    monkeypatch.setenv("ADAKRON_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("ADAKRON_KEY", KEY)
    return tmp_path


@pytest.fixture
def files(tiny: LoadedBackbone, here: Path) -> dict[str, Path]:
    made = {
        "one": make_adapter_bytes(identity=tiny.identity, seed=1),
        "two": make_adapter_bytes(identity=tiny.identity, seed=2),
        "more": make_adapter_bytes(identity=tiny.identity, labels=("positive", "negative", "neutral")),
        "pairs": make_adapter_bytes(identity=tiny.identity, type="regression", labels=(), pair=True),
    }
    for name, data in made.items():
        (here / name).write_bytes(data)
    return {name: here / name for name in made}
