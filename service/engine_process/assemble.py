"""Builds the engine side of a server, in order, and closes it in the opposite order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version as package_version

from adapters.backbone.files import BackboneSource
from service.adapter_cache.cache import AdapterCache
from service.adapter_cache.loader import AdapterLoader
from service.dispatch.engine_info import EngineInfo
from service.dispatch.label_counts import LabelCounts
from service.engine.backend import EngineBackend
from service.engine_process.local import EngineParts, LocalDispatcher
from service.engine_process.warm_up import load_live, warm_up
from service.observability.metrics import Metrics
from service.processes.cgroups import memory_limit_bytes
from service.publishing.checker import Checker
from service.publishing.shipped import publish_shipped
from service.registry import Follower, Registry, Snapshot
from service.scheduling.admission import Admission, Bounds
from service.scheduling.scheduler import Scheduler
from service.scheduling.throughput import ThroughputEstimator
from service.settings import Settings


def bounds_of(settings: Settings) -> Bounds:
    """Return the limits of the queue that `settings` give."""
    return Bounds(settings.max_queued_requests, settings.max_queued_tokens, settings.max_predicted_latency_s)


@asynccontextmanager
async def engine_side(
    settings: Settings, source: BackboneSource, engine: EngineBackend, registry: Registry, metrics: Metrics
) -> AsyncIterator[LocalDispatcher]:
    """Yield the dispatcher of `engine`, which has loaded `source`, once the live adapters are on the device."""
    async with AsyncExitStack() as stack:
        _describe(metrics, source, engine)
        checker = Checker(source, engine.dtype, settings)
        stack.callback(checker.close)
        if settings.publish_shipped_adapters:
            await publish_shipped(registry, checker)
        metrics.watch_process("checker", lambda: checker.pid)
        loader = AdapterLoader(registry.read_adapter, engine, host_memory_bytes=settings.adapter_file_memory_bytes)
        metrics.watch(metrics.adapter_files, lambda: loader.host.num_bytes)
        stack.callback(loader.close)
        adapter_cache = AdapterCache(engine, loader.load, settings.adapter_memory_bytes, metrics)
        stack.push_async_callback(adapter_cache.close)
        label_counts = LabelCounts()
        on_change = _on_change(loader, adapter_cache, label_counts, metrics)
        follower = Follower(registry, settings.registry_poll_s, on_change)
        await follower.start()
        stack.push_async_callback(follower.stop)
        throughput = ThroughputEstimator(
            max_batch_tokens=settings.max_batch_tokens, target_batch_s=settings.target_batch_s
        )

        def weight(task: str) -> float:
            return follower.snapshot.weight(task)

        admission = Admission(bounds_of(settings), throughput, weight=weight)
        scheduler = Scheduler(engine, admission, throughput, metrics, pin_batch=adapter_cache.pin_batch, weight=weight)
        scheduler.start()
        stack.push_async_callback(scheduler.stop)
        await load_live(adapter_cache, follower.snapshot)
        if settings.warmup:
            await warm_up(engine, adapter_cache, throughput, follower.snapshot)
        parts = EngineParts(
            admission,
            adapter_cache,
            loader,
            scheduler,
            throughput,
            label_counts,
            checker,
            follower,
            settings.max_uploads,
        )
        dispatcher = LocalDispatcher(EngineInfo(engine.name, engine.dtype), parts)
        metrics.watch(metrics.uploads_in_progress, lambda: dispatcher.num_uploads)
        yield dispatcher


def _describe(metrics: Metrics, source: BackboneSource, engine: EngineBackend) -> None:
    """Set the metrics that are constant while the server runs."""
    metrics.memory_limit.set(memory_limit_bytes())
    identity = source.identity
    labels = package_version("adakron-serve"), identity.name, identity.weights_sha256[:12], engine.name, engine.dtype
    metrics.build.labels(*labels).set(1)


def _on_change(
    loader: AdapterLoader, adapter_cache: AdapterCache, label_counts: LabelCounts, metrics: Metrics
) -> Callable[[Snapshot], None]:
    warming: set[asyncio.Task[None]] = set()

    def changed(snapshot: Snapshot) -> None:
        versions = [version for entry in snapshot.tasks.values() for version in entry.versions.values()]
        metrics.quarantined.set(sum(version.quarantined for version in versions))
        published = {version.digest for version in versions}
        published |= loader.expected(published)
        loader.on_registry_change(published)
        adapter_cache.on_registry_change(published)
        label_counts.on_registry_change(published)
        task = asyncio.create_task(load_live(adapter_cache, snapshot))
        warming.add(task)
        task.add_done_callback(warming.discard)

    return changed
