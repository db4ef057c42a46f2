"""The engine in int8: near float32, and no bit depends on the batch."""

import numpy as np
import pytest

from adapters import checkpoint
from adapters.backbone.quantized import why_not_int8
from adapters.backbone.source import LoadedBackbone
from adapters.errors import BackboneError
from adapters.serving.batch import BatchTokens
from service.engine.worker import EngineWorker, load_backbone_for
from service.publishing.shipped import shipped_adapters
from service.settings import Settings

TEXTS = [
    "a warm, funny film",
    "dull",
    "the plot is thin, and nobody on the screen seems to care about it either",
    "why?",
]


@pytest.mark.skipif(why_not_int8("cpu") is not None, reason=str(why_not_int8("cpu")))
async def test_the_engine_in_int8(real: LoadedBackbone) -> None:
    """A mixed batch of shipped adapters: logits near those of float32, and nearly equal alone and together."""
    folder, files = str(real.source.folder), list(shipped_adapters().values())
    workers = [
        EngineWorker(load_backbone_for(settings), settings)
        for settings in (
            Settings(backbone=folder, device="cpu", dtype=dtype, engine_threads=1) for dtype in ("float32", "int8")
        )
    ]
    assert [worker.dtype for worker in workers] == ["float32", "int8"]
    encodings = real.encoder.encode(TEXTS, max_length=64)
    answers = []
    for worker in workers:
        for slot, data in enumerate(files):
            await worker.write(slot, await worker.read(checkpoint.parse(data).digest, data, checked=False))
        batch = BatchTokens.of([(slot, encodings) for slot in range(len(files))])
        answers.append(await worker.compute(await worker.prepare(batch)))
    for in_float, in_int8 in zip(*answers, strict=True):
        assert 0 < np.abs(in_float - in_int8).max() < 0.3
    for slot, together in enumerate(answers[1]):
        for encoding, row in zip(encodings, together, strict=True):
            (alone,) = await workers[1].compute(await workers[1].prepare(BatchTokens.of([(slot, [encoding])])))
            assert np.abs(alone[0] - row).max() < 1e-5
    for worker in workers:
        await worker.close()


def test_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, tiny: LoadedBackbone) -> None:
    """On a processor without VNNI int8 is refused at the start; one line names setting and remedy."""
    monkeypatch.setattr("adapters.backbone.quantized.int8_lanes", lambda *size: 0)
    settings = Settings(backbone=str(tiny.source.folder), device="cpu", dtype="int8")
    with pytest.raises(
        BackboneError, match=r"^ADAKRON_DTYPE=int8 .*AVX512-VNNI or AVX-VNNI\); set ADAKRON_DTYPE=auto$"
    ):
        load_backbone_for(settings)
