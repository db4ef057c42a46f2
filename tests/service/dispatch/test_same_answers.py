"""A whole engine side on the tiny backbone: a RemoteDispatcher answers as the LocalDispatcher that it asks."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from adapters.backbone.source import LoadedBackbone
from service.core import PublishedVersion
from service.dispatch.client import RemoteDispatcher
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.load_page import LoadPage
from service.engine.worker import EngineWorker
from service.engine_process.assemble import bounds_of, engine_side
from service.engine_process.server import DispatchServer
from service.observability.metrics import Metrics
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.dispatching import FAR, not_expected
from tests.support.factories import make_adapter_bytes
from tests.support.invariance import same_answer, tolerance_of
from tests.support.serving import settings_for

KINDS = ({"labels": ("a", "b")}, {"labels": ("a", "b", "c")}, {"type": "regression", "labels": ()}, {"pooling": "cls"})
TEXTS = ["a good film", "the plot is dull and the actor is bad", "?", "one two three four five", "a " * 40]


async def ask(
    dispatcher: Dispatcher, loaded: LoadedBackbone, version: PublishedVersion, texts: Sequence[str]
) -> np.ndarray:
    encodings = loaded.encoder.encode(list(texts), max_length=64)
    ticket = dispatcher.open(version.task, FAR, not_expected)
    try:
        ticket.reserve(64 * len(texts))
        await ticket.granted()
        return await ticket.compute(version.adapter, encodings)
    finally:
        ticket.close()


async def test_logits_are_those_of_the_engine_side(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """One request at a time is equal bit for bit; many at once, in mixed batches, within the tolerance of batches."""
    config = settings_for(tmp_path)
    files = [make_adapter_bytes(identity=tiny.identity, seed=seed, **kind) for seed, kind in enumerate(KINDS)]  # type: ignore[arg-type]
    metrics, engine = Metrics(), EngineWorker(tiny, config)
    with closing(Registry.open(config.resolved_registry_url)) as registry:
        versions = [
            registry.publish(f"t{number}", check_upload(data, tiny)).version for number, data in enumerate(files)
        ]
        async with engine_side(config, tiny.source, engine, registry, metrics) as local:
            server = DispatchServer(local, LoadPage.create(tmp_path / "load"))
            listening = await asyncio.get_running_loop().create_unix_server(server.accept, str(tmp_path / "engine"))
            page = LoadPage.attach(tmp_path / "load")
            remote = RemoteDispatcher(
                local.engine,
                tmp_path,
                page,
                bounds_of(config),
                follow=local.parts.follower.refresh,
                weight=local.parts.follower.snapshot.weight,
            )
            await remote.connect(tmp_path / "engine")
            questions = [(version, TEXTS[start:]) for version in versions for start in range(len(TEXTS))]
            expected = []
            for version, texts in questions:
                expected.append(await ask(local, tiny, version, texts))
                assert np.array_equal(await ask(remote, tiny, version, texts), expected[-1])
            together = await asyncio.gather(
                *(ask(dispatcher, tiny, *question) for question in questions for dispatcher in (remote, local))
            )
            for number, logits in enumerate(together):
                assert same_answer(expected[number // 2], logits, tolerance_of(tiny.backbone))
            counts = await remote.label_counts([version.digest for version in versions])
            assert [counts[version.digest].num_inputs for version in versions] == [4 * 15] * 4
            assert local.parts.admission.num_tokens == 0
            remote.close()
            await remote.died.wait()
            listening.close()
    await engine.close()
    metrics.close()
