"""Fixtures that many tests share."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from adapters.backbone import native
from adapters.backbone.source import LoadedBackbone, load_backbone
from service.registry import Registry
from tests.support.databases import DATABASES, fresh_database
from tests.support.paths import ROOT
from tests.support.patience import be_patient
from tests.support.tiny import make_tiny_backbone

os.environ["HF_HUB_OFFLINE"] = "1"  # no test talks to the Hub
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long`: the tests in tests/long run as many cases as docs/reliability.md says."""
    parser.addoption("--long", action="store_true", help="run the tests of tests/long in full (make test-long)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest folders first, so that no worker is left with a long file at the end."""
    slowest = (
        "tests/e2e/",
        "tests/long/",
        "tests/adapters/cuda/",
        "tests/service/console/",
        "tests/service/train/",
        "benchmarks/tests/test_gpu.py",
    )
    items.sort(key=lambda item: not item.nodeid.startswith(slowest))


@pytest.fixture(scope="session", autouse=True)
def patient() -> None:
    """If tests run in parallel, no call of a database is too slow."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        be_patient()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same random numbers in every run."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def fresh_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape shows what has happened up to it, not up to a second before."""
    monkeypatch.setattr("service.observability.metrics.exposition.FRESH_S", 0.0)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT as a local folder."""
    return make_tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> LoadedBackbone:
    """The tiny random BERT, loaded."""
    return load_backbone(str(tiny_folder))


@pytest.fixture(scope="session")
def real() -> LoadedBackbone:
    """The default backbone, from its installed package."""
    return load_backbone()


@pytest.fixture(scope="session")
def glue() -> Path:
    """The folder of the GLUE tasks as JSON Lines."""
    folder = Path(os.environ.get("ADAKRON_GLUE_DIR", ROOT.parent / "shared/data/glue"))
    if not folder.is_dir():
        pytest.skip(f"no GLUE data in {folder} (ADAKRON_GLUE_DIR)")
    return folder


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, SQLite and PostgreSQL in turn; some files have one of their own."""
    with fresh_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    """The registry in it."""
    with closing(Registry.open(url)) as registry:
        yield registry


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads only get in each other's way on matrices this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["C", "torch"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled kernels, and what takes their place where there are none."""
    if request.param == "torch":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.skip("the kernels are not compiled (python hatch_build.py)")


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ADAKRON_* setting of the caller's shell."""
    for name in [name for name in os.environ if name.startswith("ADAKRON_")]:
        monkeypatch.delenv(name)
