"""The code of docs/library.md runs as it stands, and its table of families is that of the code."""

import re
from pathlib import Path

import pytest

from adapters.integrations.sites import FEED_FORWARD_OUTPUTS
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/library.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore:.*pin_memory")  # Trainer's default, on a machine without a GPU
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_code(index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block runs alone, and its assertions hold."""
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[index], f"docs/library.md, block {index}", "exec"), {})


def test_families() -> None:
    """The page lists each family with the layers that get adapters."""
    rows = re.findall(r"^\| (`[a-z].*?`) \| `([^`]+\.[^`]+)`.*\|$", PAGE, re.MULTILINE)
    found = {family: layers for families, layers in rows for family in re.findall(r"`(\w+)`", families)}
    assert found == dict(FEED_FORWARD_OUTPUTS)
