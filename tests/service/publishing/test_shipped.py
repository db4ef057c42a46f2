"""Publication of the shipped adapters at the first start."""

from contextlib import closing
from pathlib import Path

from adapters.backbone.source import LoadedBackbone
from service.publishing.checker import Checker
from service.publishing.shipped import publish_shipped
from service.registry import Registry
from service.settings import Settings


async def test_shipped_adapters_are_published_once(tiny: LoadedBackbone, real: LoadedBackbone, tmp_path: Path) -> None:
    """The shipped adapters go through the checker into an empty registry, and only onto their own backbone."""
    with closing(Registry.open(f"sqlite:///{tmp_path / 'registry.sqlite3'}")) as registry:
        for loaded, published in ((tiny, []), (real, ["cola", "mrpc", "rte", "sst2", "stsb"]), (real, [])):
            with closing(Checker(loaded.source, "float32", Settings())) as checker:
                assert await publish_shipped(registry, checker) == published
