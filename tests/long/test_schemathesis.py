"""Schemathesis tests the HTTP API against its OpenAPI document, with every check in every phase."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from tests.long.conftest import Record
from tests.support.databases import DATABASES, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.serving import KEY, UPLOAD, listening

CONFIG = Path(__file__).parent / "schemathesis.toml"
SCHEMATHESIS = (sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG))
NUM_EXAMPLES = (200, 5)  # per operation, in full and otherwise


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("key", ["with a key", "without a key"])
def test_no_failure_and_no_5xx(
    key: str, kind: str, tiny: LoadedBackbone, tmp_path: Path, is_long: bool, record: Record
) -> None:
    """No response to valid or invalid requests contradicts the document or is a server error."""
    if (kind, key) != ("sqlite", "with a key") and not is_long:
        pytest.skip("another 20 s: run with --long")
    command = ["run", "--no-color", "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful"]
    command += ["--max-examples", str(NUM_EXAMPLES[0 if is_long else 1]), "--seed", "1"]
    if key == "with a key":
        command += ["--header", f"Authorization: Bearer {KEY}"]
    with (
        fresh_database(kind, tmp_path) as url,
        listening(tiny, tmp_path, registry_url=url, require_key=key == "without a key") as server,
    ):
        for seed in range(3):  # the examples in the document use the task sst2
            data = make_adapter_bytes(identity=tiny.identity, seed=seed)
            assert server.request("POST", "/admin/v1/tasks/sst2/versions", UPLOAD, data)[0] == 201
        result = subprocess.run(
            [*SCHEMATHESIS, *command, f"http://127.0.0.1:{server.port}/openapi.json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    cases = re.search(r"(\d+) generated", result.stdout)
    assert cases is not None, result.stdout
    record(cases=int(cases[1]))
