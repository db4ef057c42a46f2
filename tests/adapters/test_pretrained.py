"""The five shipped adapters."""

import json
from pathlib import Path

import numpy as np
import pytest

from adapters import checkpoint
from adapters.backbone.quantized import load_packed, why_not_int8
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import TextInput
from adapters.serving.inference import predict_logits
from adapters.serving.verification import TOLERANCE, verify
from service.publishing.shipped import shipped_adapters
from service.train.evaluation.metrics import compute_metrics
from tests.support.paths import ROOT

FLOORS = {  # task: (split, metric, least score)
    "sst2": ("validation", "accuracy", 0.87),
    "stsb": ("validation", "pearson", 0.85),
    "mrpc": ("test", "accuracy", 0.78),
    "cola": ("validation", "matthews", 0.25),
    "rte": ("validation", "accuracy", 0.62),
}


@pytest.mark.parametrize("task", FLOORS)
def test_fits_the_default_backbone(task: str, real: LoadedBackbone) -> None:
    """Each shipped file passes every check of an upload on the default backbone."""
    adapter = checkpoint.parse(shipped_adapters()[task], real.identity)
    verify(real, adapter)
    assert len(adapter.metadata.examples) == 8
    assert adapter.metadata.training["seed"] is not None
    assert adapter.metadata.metrics[FLOORS[task][1]] >= FLOORS[task][2]


@pytest.mark.skipif(why_not_int8("cpu") is not None, reason=str(why_not_int8("cpu")))
def test_pass_the_dry_run_in_int8(real: LoadedBackbone) -> None:
    """The golden examples of each shipped file come out in int8, within half of what is allowed."""
    loaded = load_packed(str(real.source.folder), dtype="int8")
    for data in shipped_adapters().values():
        adapter = checkpoint.parse(data, loaded.identity)
        verify(loaded, adapter)
        examples = adapter.metadata.examples
        logits = predict_logits(loaded, adapter, [example.text_input for example in examples])
        assert np.abs(logits - [example.logits for example in examples]).max() < TOLERANCE["int8"] / 2


@pytest.mark.parametrize("task", FLOORS)
def test_readme_has_its_scores(task: str) -> None:
    """adapters/pretrained/README.md shows the score from the file's metadata."""
    metadata = checkpoint.parse(shipped_adapters()[task]).metadata
    page = (ROOT / "adapters/pretrained/README.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{task}`"))
    assert f"{metadata.metrics[FLOORS[task][1]]:.3f}" in row


@pytest.mark.real_data
@pytest.mark.parametrize("task", FLOORS)
def test_scores_are_true(task: str, real: LoadedBackbone, glue: Path) -> None:
    """On the real data each adapter reaches the score from its metadata."""
    split, metric, least = FLOORS[task]
    adapter = checkpoint.parse(shipped_adapters()[task], real.identity)
    rows = [json.loads(line) for line in (glue / task / f"{split}.jsonl").read_text().splitlines()]
    inputs: list[TextInput] = [
        row["sentence"] if "sentence" in row else (row["sentence1"], row["sentence2"]) for row in rows
    ]
    labels = adapter.metadata.task.labels
    targets = [labels.index(row["label"]) if labels else row["label"] for row in rows]
    logits = predict_logits(real, adapter, inputs)
    score = compute_metrics(logits, np.array(targets), adapter.metadata.task.type)[metric]
    assert score >= least
    assert score == pytest.approx(adapter.metadata.metrics[metric], abs=2e-3)
